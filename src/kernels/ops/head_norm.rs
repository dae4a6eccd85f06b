//! RMSNorm of each head of queries and keys.
//! What norms whole rows is `norm`.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y = [norm(q) | norm(k) | v], head by head. Norms of all heads of q, or of k, together are those of one
/// wide head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadNorm {
    /// (N, (H + 2K)·D) = [q | k | v]
    pub qkv: TensorId,
    /// (D), of q and of k; or (H·D) and (K·D)
    pub weights: [TensorId; 2],
    /// (N, (H + 2K)·D)
    pub y: TensorId,
    /// Norms of q in a row: H, or 1.
    pub q_heads: usize,
    /// Added to the mean square.
    pub eps: f32,
}

impl HeadNorm {
    /// Norms of q and of k, where q, k and v are `cols` wide and what is normed of q and of k as wide as this;
    /// `None` if they do not fill it.
    pub(super) fn heads(q_heads: usize, [q, k]: [usize; 2], cols: usize) -> Option<[usize; 2]> {
        let k_heads = cols.checked_sub(q_heads * q)?.checked_div(k)? / 2;
        (k_heads > 0 && q_heads * q + 2 * k_heads * k == cols).then_some([q_heads, k_heads])
    }
}

impl Operation for HeadNorm {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.qkv, self.weights[0], self.weights[1]]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { qkv, weights: [of_q, of_k], y, q_heads, .. } = *self;
        shapes.activations(&[qkv, y])?;
        let widths = [of_q, of_k].map(|weight| shapes.lines(weight));
        demand(shapes.cols(qkv) == shapes.cols(y), "qkv and y differ in columns")?;
        demand(Self::heads(q_heads, widths, shapes.cols(qkv)).is_some(), "qkv is not (N, (H + 2K)·D)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        let weights = self.weights.map(|weight| call.f32(weight));
        let heads =
            Self::heads(self.q_heads, weights.map(<[f32]>::len), call.cols(self.qkv)).expect("just checked");
        twin::head_norm::head_norm(call.head(self.qkv), weights, heads, self.eps, y);
    }
}
