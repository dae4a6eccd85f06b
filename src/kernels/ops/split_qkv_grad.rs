//! The way back to the output of the fused map of queries, keys and values.
//! It reads gradients; those of attention are ops of their own.

use super::{Call, Fit, Growth, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin::split_qkv::Rotation;
use crate::twin::split_qkv_grad::split_qkv_grad;

/// dqkv[n] = [dq | dK at [slot, pos] | dV at [slot, pos]], dq and dK rotated back. Inactive
/// rows write nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitQkvGrad {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, H·D)
    pub dq: TensorId,
    /// (slots, S, K·D)
    pub dk_cache: TensorId,
    /// (slots, S, K·D)
    pub dv_cache: TensorId,
    /// (≥ S, E)
    pub rope: TensorId,
    /// (N, (H + 2K)·D)
    pub dqkv: TensorId,
    /// D
    pub head_dim: usize,
    /// Whether a row has, for each of K groups, its H / K heads of q, then k, then v
    pub grouped: bool,
    /// Whether elements 2i and 2i + 1 of a head are rotated together, in place of i and i + E/2
    pub neighbours: bool,
    /// Of queries with their positions.
    pub growth: Growth,
}

impl Operation for SplitQkvGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.dq, self.dk_cache, self.dv_cache, self.rope]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dqkv]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, dq, dk_cache, dv_cache, rope, dqkv, head_dim, grouped, growth, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[dq, dqkv])?;
        shapes.caches(dk_cache, dv_cache)?;
        shapes.heads(dq, dk_cache, head_dim)?;
        let [_, s, kv_cols] = shapes.tensors.get(dk_cache).shape[..] else { unreachable!("just checked") };
        let fits = shapes.cols(dqkv) == shapes.cols(dq) + 2 * kv_cols;
        demand(fits, "dqkv is not dq, dk and dv side by side")?;
        demand(!grouped || shapes.cols(dq).is_multiple_of(kv_cols), "groups of heads differ")?;
        let rotated = shapes.cols(rope);
        demand(rotated <= head_dim && rotated.is_multiple_of(2), "rope is wider than heads, or odd")?;
        demand(growth.every > 0, "queries grow every 0 positions")?;
        demand(shapes.lines(rope) >= s, "rope has fewer lines than the cache")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dqkv] = outputs(out);
        let heads = call.heads(self.dq, self.dk_cache, self.head_dim);
        let Self { rope, neighbours, growth, .. } = *self;
        let rotation = Rotation { table: call.f32(rope), cols: call.cols(rope), neighbours, growth };
        let (rows, dq) = (call.rows(self.rows), call.f32(self.dq));
        let (dk, dv) = (call.f32(self.dk_cache), call.f32(self.dv_cache));
        split_qkv_grad(rows, dq, dk, dv, rotation, heads, self.grouped, dqkv);
    }
}
