//! What the checks of ops are made of: the shapes of tensors, and demands on them.
//! It knows no op.

use crate::cache::CACHE_TYPES;
use crate::control::{Mix, Row, Training};
use crate::dtype::Dtype;
use crate::tensor::{TensorId, Tensors};

/// Whether shapes fit; the message says what does not.
pub(crate) type Fit = Result<(), &'static str>;

/// Errors with `misfit` unless `ok`.
pub(crate) fn demand(ok: bool, misfit: &'static str) -> Fit {
    if ok { Ok(()) } else { Err(misfit) }
}

/// Tensors, and the number of token rows of a plan over them.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// All that are declared.
    pub(crate) tensors: &'a Tensors,
    /// N
    pub(crate) n: usize,
}

// Checks are many and run once a plan: what they share is not copied into each.
impl Shapes<'_> {
    /// Elements behind one index of the first axis.
    #[inline(never)]
    pub(crate) fn cols(&self, id: TensorId) -> usize {
        self.tensors.get(id).row_len()
    }

    /// Length of the first axis.
    #[inline(never)]
    pub(crate) fn lines(&self, id: TensorId) -> usize {
        self.tensors.get(id).shape[0]
    }

    /// Elements of all.
    #[inline(never)]
    pub(crate) fn len(&self, id: TensorId) -> usize {
        self.tensors.get(id).len()
    }

    /// These have a line for each token row.
    #[inline(never)]
    pub(crate) fn activations(&self, ids: &[TensorId]) -> Fit {
        demand(ids.iter().all(|&id| self.lines(id) >= self.n), "an activation has too few rows")
    }

    /// These are the token rows.
    #[inline(never)]
    pub(crate) fn rows(&self, id: TensorId) -> Fit {
        let is_u32 = self.tensors.get(id).dtype == Dtype::U32;
        demand(is_u32 && 4 * self.cols(id) == size_of::<Row>(), "rows is not (N, 4) u32")?;
        self.activations(&[id])
    }

    /// These are mixes of adapters.
    #[inline(never)]
    pub(crate) fn mixes(&self, id: TensorId) -> Fit {
        demand(4 * self.cols(id) == size_of::<Mix>(), "mixes is not (mixes, 16)")
    }

    /// These are the numbers of a training step.
    #[inline(never)]
    pub(crate) fn training(&self, id: TensorId) -> Fit {
        let is_u32 = self.tensors.get(id).dtype == Dtype::U32;
        demand(is_u32 && 4 * self.len(id) == size_of::<Training>(), "training is not (12) u32")
    }

    /// These are caches of keys and of values, or of gradients by them.
    #[inline(never)]
    pub(crate) fn caches(&self, k: TensorId, v: TensorId) -> Fit {
        let (k, v) = (self.tensors.get(k), self.tensors.get(v));
        demand(k.shape.len() == 3 && k.shape == v.shape, "caches are not (slots, S, K·D)")?;
        let fits = CACHE_TYPES.contains(&k.dtype) && (!k.dtype.is_packed() || k.shape[2].is_multiple_of(64));
        demand(k.dtype == v.dtype && fits, "keys and values are not of one type that fits them")
    }

    /// Query heads share key heads in equal groups; the cache is one.
    #[inline(never)]
    pub(crate) fn heads(&self, q: TensorId, k_cache: TensorId, head_dim: usize) -> Fit {
        let (q_cols, kv_cols) = (self.cols(q), self.tensors.get(k_cache).shape[2]);
        let fit = q_cols % kv_cols == 0 && kv_cols % head_dim == 0;
        demand(fit, "query heads are no multiple of key heads")
    }
}
