//! Attention over a cache of keys and values, with what adapters read of it.
//! The ways back are `attention_grad_q` and `attention_grad_kv`.

use super::{Cached, Call, DownProjection, Fit, Operation, Shapes, demand, run_version};
use crate::tensor::TensorId;

/// y = softmax(scale · q · Kᵀ) · V over keys 0..=pos of the row's slot, the last `window`
/// of them if not 0; query heads share key heads in groups of H/K. Scores s become cap · tanh(s / cap)
/// if `cap` is not 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, H·D)
    pub q: TensorId,
    /// (slots, S, K·D)
    pub k_cache: TensorId,
    /// (slots, S, K·D)
    pub v_cache: TensorId,
    /// (N, H·D)
    pub y: TensorId,
    /// D
    pub head_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Bound of the scores; 0 is none.
    pub cap: f32,
    /// Keys a query sees, itself included; 0 is all, or [`SPAN`](crate::control::SPAN).
    pub window: usize,
    /// z = A·y for the adapters of the map that reads y, one partial a head.
    pub shrink: Option<DownProjection>,
}

impl Operation for Attention {
    fn reads(&self) -> Vec<TensorId> {
        let shrink = self.shrink.iter().flat_map(|s| [s.mixes, s.a]);
        [self.rows, self.q, self.k_cache, self.v_cache].into_iter().chain(shrink).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        [self.y].into_iter().chain(self.shrink.map(|s| s.z)).collect()
    }

    fn cache(&self) -> Option<[TensorId; 2]> {
        Some([self.k_cache, self.v_cache])
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, q, k_cache, v_cache, y, head_dim, shrink, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[q, y])?;
        shapes.caches(k_cache, v_cache)?;
        demand(shapes.cols(q) == shapes.cols(y), "q and y differ")?;
        shapes.heads(q, k_cache, head_dim)?;
        demand(shrink.is_none_or(|shrink| shrink.rows == rows), "two tensors of rows")?;
        let (c, heads) = (shapes.cols(y), shapes.cols(y) / head_dim);
        shrink.map_or(Ok(()), |shrink| shrink.check(shapes, c, heads))
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let heads = call.heads(self.q, self.k_cache, self.head_dim);
        let cached = call.cached(self.rows, [self.k_cache, self.v_cache], heads, self.window, false);
        let Cached { rows, k, v, heads } = &cached;
        let y = bytemuck::cast_slice_mut(&mut out[0]);
        run_version!(
            call,
            attention(rows, call.f32(self.q), k, v, *heads, [self.scale, self.cap], self.window, y)
        );
        DownProjection::ride(self.shrink, call, heads.q_cols, out);
    }
}
