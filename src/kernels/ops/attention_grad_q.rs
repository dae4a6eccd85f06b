//! The way back through attention to its queries.
//! To keys and values leads `attention_grad_kv`, which reads what this leaves.

use super::{AttentionInputs, Cached, Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::tensor::TensorId;

/// dq of [`Attention`](super::Attention), and what [`AttentionGradKv`](super::AttentionGradKv) needs
/// of its softmax. Inactive rows write nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradQ {
    /// The forward step's inputs and parameters.
    pub forward: AttentionInputs,
    /// (N, H·D)
    pub dy: TensorId,
    /// (N, H·D)
    pub dq: TensorId,
    /// (N, 2·H): per head the logarithm of the softmax' denominator, and Σ p·(dy · v)
    pub stats: TensorId,
}

impl Operation for AttentionGradQ {
    fn reads(&self) -> Vec<TensorId> {
        self.forward.reads().into_iter().chain([self.dy]).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dq, self.stats]
    }

    fn cache(&self) -> Option<[TensorId; 2]> {
        Some([self.forward.k_cache, self.forward.v_cache])
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { forward, dy, dq, stats } = *self;
        forward.check(shapes)?;
        shapes.activations(&[dy, dq, stats])?;
        let c = shapes.cols(forward.q);
        demand(shapes.cols(dy) == c && shapes.cols(dq) == c, "q, dy and dq differ")?;
        demand(shapes.cols(stats) == 2 * c / forward.head_dim, "stats is not (N, 2·H)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dq, stats] = outputs(out);
        let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, window } = self.forward;
        let heads = call.heads(q, k_cache, head_dim);
        let cached = call.cached(rows, [k_cache, v_cache], heads, window, false);
        let Cached { rows, k, v, heads } = &cached;
        run_version!(
            call,
            attention_grad_q(
                rows,
                call.f32(q),
                k,
                v,
                call.f32(self.dy),
                *heads,
                [scale, cap],
                window,
                dq,
                stats
            )
        );
    }
}
