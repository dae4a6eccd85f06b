//! The way back through attention to keys and values.
//! To queries leads `attention_grad_q`, which comes before.

use super::{AttentionInputs, Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::tensor::TensorId;

/// Adds to the gradients of the keys and values that the rows of
/// [`Attention`](super::Attention) see. Rows of later tiles have added theirs before:
/// when its own tile is reached, a position's gradient is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradKv {
    /// The forward step's inputs and parameters.
    pub forward: AttentionInputs,
    /// (N, H·D)
    pub dy: TensorId,
    /// (N, 2·H), from [`AttentionGradQ`](super::AttentionGradQ)
    pub stats: TensorId,
    /// (slots, S, K·D), read and written; it needs no more slots than those of the rows
    pub dk_cache: TensorId,
    /// (slots, S, K·D), read and written
    pub dv_cache: TensorId,
}

impl Operation for AttentionGradKv {
    fn reads(&self) -> Vec<TensorId> {
        self.forward.reads().into_iter().chain([self.dy, self.stats]).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dk_cache, self.dv_cache]
    }

    fn cache(&self) -> Option<[TensorId; 2]> {
        Some([self.forward.k_cache, self.forward.v_cache])
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { forward, dy, stats, dk_cache, dv_cache } = *self;
        forward.check(shapes)?;
        shapes.activations(&[dy, stats])?;
        shapes.caches(dk_cache, dv_cache)?;
        let cell = |cache: TensorId| &shapes.tensors.get(cache).shape[1..];
        demand(cell(dk_cache) == cell(forward.k_cache), "the gradient caches' slots are not (S, K·D)")?;
        let c = shapes.cols(forward.q);
        demand(shapes.cols(dy) == c, "q and dy differ")?;
        demand(shapes.cols(stats) == 2 * c / forward.head_dim, "stats is not (N, 2·H)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dk, dv] = outputs(out);
        let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, window } = self.forward;
        let heads = call.heads(q, k_cache, head_dim);
        // The gradients lie as the cache does.
        let cached = call.cached(rows, [k_cache, v_cache], heads, window, true);
        let (dy, stats) = (call.f32(self.dy), call.f32(self.stats));
        run_version!(
            call,
            attention_grad_kv(
                &cached.rows,
                call.f32(q),
                &cached.k,
                &cached.v,
                dy,
                stats,
                heads,
                [scale, cap],
                window,
                dk,
                dv
            )
        );
    }
}
