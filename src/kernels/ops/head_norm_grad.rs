//! The way back through the norms of each head of queries and keys.
//! Their weights are frozen.

use super::{Call, Fit, HeadNorm, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// dx = [dx · d norm(q) / dq | dx · d norm(k) / dk | dx], head by head
#[derive(Clone, Debug, PartialEq)]
pub struct HeadNormGrad {
    /// (N, (H + 2K)·D) = [q | k | v], as [`HeadNorm`] read it
    pub qkv: TensorId,
    /// (D), of q and of k; or (H·D) and (K·D)
    pub weights: [TensorId; 2],
    /// (N, (H + 2K)·D), read and written
    pub dx: TensorId,
    /// Norms of q in a row: H, or 1.
    pub q_heads: usize,
    /// Added to the mean square.
    pub eps: f32,
}

impl Operation for HeadNormGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.qkv, self.weights[0], self.weights[1]]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dx]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { qkv, weights: [of_q, of_k], dx, q_heads, .. } = *self;
        shapes.activations(&[qkv, dx])?;
        let widths = [of_q, of_k].map(|weight| shapes.lines(weight));
        demand(shapes.cols(qkv) == shapes.cols(dx), "qkv and dx differ in columns")?;
        demand(HeadNorm::heads(q_heads, widths, shapes.cols(qkv)).is_some(), "qkv is not (N, (H + 2K)·D)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dx] = outputs(out);
        let weights = self.weights.map(|weight| call.f32(weight));
        let widths = weights.map(<[f32]>::len);
        let heads = HeadNorm::heads(self.q_heads, widths, call.cols(self.qkv)).expect("just checked");
        twin::head_norm_grad::head_norm_grad(call.head(self.qkv), weights, heads, self.eps, dx);
    }
}
