//! From the output of the fused map to a query, and a key and a value in the cache.
//! Attention itself is an op of its own; the way back is `split_qkv_grad`.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::cache::CacheLayout;
use crate::control::INACTIVE;
use crate::tensor::TensorId;
use crate::twin::split_qkv::{Growth, Rotation, split_qkv, split_row};

/// Parts each row of qkv: q rotated to `q`, k rotated and v into the cache at [slot, pos].
#[derive(Clone, Debug, PartialEq)]
pub struct SplitQkv {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, (H + 2K)·D) = [q heads | k heads | v heads]
    pub qkv: TensorId,
    /// (S, E): row p is cos of the E/2 angles, then sin; of each head the first E elements are rotated
    pub rope: TensorId,
    /// (N, H·D)
    pub q: TensorId,
    /// (slots, S, K·D)
    pub k_cache: TensorId,
    /// (slots, S, K·D)
    pub v_cache: TensorId,
    /// D
    pub head_dim: usize,
    /// Whether a row has, for each of K groups, its H / K heads of q, then k, then v
    pub grouped: bool,
    /// Whether elements 2i and 2i + 1 of a head are rotated together, in place of i and i + E/2
    pub neighbours: bool,
    /// Of queries with their positions.
    pub growth: Growth,
}

impl Operation for SplitQkv {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.qkv, self.rope]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.q, self.k_cache, self.v_cache]
    }

    fn cache(&self) -> Option<[TensorId; 2]> {
        Some([self.k_cache, self.v_cache])
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, qkv, rope, q, k_cache, v_cache, head_dim, grouped, growth, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[qkv, q])?;
        shapes.caches(k_cache, v_cache)?;
        let [_, s, kv_cols] = shapes.tensors.get(k_cache).shape[..] else { unreachable!("just checked") };
        demand(shapes.cols(qkv) == shapes.cols(q) + 2 * kv_cols, "qkv is not q, k and v side by side")?;
        demand(
            shapes.cols(q).is_multiple_of(head_dim) && kv_cols.is_multiple_of(head_dim),
            "heads are not D wide",
        )?;
        demand(!grouped || shapes.cols(q).is_multiple_of(kv_cols), "groups of heads differ")?;
        let rotated = shapes.cols(rope);
        demand(rotated <= head_dim && rotated.is_multiple_of(2), "rope is wider than heads, or odd")?;
        demand(growth.every > 0, "queries grow every 0 positions")?;
        demand(shapes.lines(rope) >= s, "rope has fewer lines than the cache")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        if self.is_packed(call) {
            return self.run_packed(call, out);
        }
        let [q, k, v] = outputs(out);
        let (rows, qkv) = (call.rows(self.rows), call.f32(self.qkv));
        let heads = call.heads(self.q, self.k_cache, self.head_dim);
        split_qkv(rows, qkv, self.rotation(call), heads, self.grouped, q, k, v);
    }
}

impl SplitQkv {
    fn is_packed(&self, call: &Call) -> bool {
        call.tensors.get(self.k_cache).dtype.is_packed()
    }

    fn rotation<'a>(&self, call: &Call<'a>) -> Rotation<'a> {
        let Self { rope, neighbours, growth, .. } = *self;
        Rotation { table: call.f32(rope), cols: call.cols(rope), neighbours, growth }
    }

    /// Row by row, so that a key or a value is one cell of a cache until it is rounded.
    fn run_packed(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [q, k_cache, v_cache] = outputs::<u32, 3>(out);
        let q: &mut [f32] = bytemuck::cast_slice_mut(q);
        let heads = call.heads(self.q, self.k_cache, self.head_dim);
        let layout = CacheLayout::of(call.tensors.get(self.k_cache));
        let (qkv, cols, rotation) = (call.f32(self.qkv), call.cols(self.qkv), self.rotation(call));
        let [mut k, mut v] = [(); 2].map(|()| vec![0.0; heads.kv_cols]);
        let active = call.rows(self.rows).iter().enumerate().filter(|(_, row)| row.slot != INACTIVE);
        for (n, row) in active {
            let (slot, pos) = (row.slot as usize, row.pos as usize);
            let (qkv, q) = (&qkv[n * cols..][..cols], &mut q[n * heads.q_cols..][..heads.q_cols]);
            split_row(qkv, pos, rotation, heads, self.grouped, q, &mut k, &mut v);
            layout.store(k_cache, slot, pos, &k);
            layout.store(v_cache, slot, pos, &v);
        }
    }
}
