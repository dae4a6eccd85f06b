//! What attention's ways back read of the way there.
//! They are ops of their own.

use super::{Fit, Shapes};
use crate::tensor::TensorId;

/// What the backward steps of attention share: the fields of [`Attention`](crate::ops::Attention)
/// without its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionInputs {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, H·D)
    pub q: TensorId,
    /// (slots, S, K·D)
    pub k_cache: TensorId,
    /// (slots, S, K·D)
    pub v_cache: TensorId,
    /// D
    pub head_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Bound of the scores; 0 is none.
    pub cap: f32,
    /// Keys a query sees, itself included; 0 is all.
    pub window: usize,
}

impl AttentionInputs {
    /// Its tensors, in the order of the shaders' bindings.
    pub(crate) fn reads(&self) -> [TensorId; 4] {
        [self.rows, self.q, self.k_cache, self.v_cache]
    }

    /// Whether they fit each other.
    pub(crate) fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        shapes.activations(&[self.q])?;
        shapes.caches(self.k_cache, self.v_cache)?;
        shapes.heads(self.q, self.k_cache, self.head_dim)
    }
}
