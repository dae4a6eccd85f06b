//! Where a layer's activations go, and how wide they are. What stays of them for the way back is training's.

use crate::error::Result;
use crate::plan::{Dtype, TensorId, Tensors};

use super::MAX_ROWS;
use super::blueprint::Blueprint;

/// Activations of one run, reused by every layer. Training may have more rows than [`MAX_ROWS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Scratch {
    /// (MAX_ROWS, C): the residual stream
    pub(crate) x: TensorId,
    /// (MAX_ROWS, C): normalised
    pub(crate) xn: TensorId,
    /// (MAX_ROWS, (H + 2K)·D)
    pub(crate) qkv: TensorId,
    /// The same with heads of q and k normed, where there are such norms.
    pub(crate) heads: Option<TensorId>,
    /// (MAX_ROWS, C): what attention or feed-forward adds, where it does not join the residual stream as it is
    pub(crate) branch: Option<TensorId>,
    /// (MAX_ROWS, H·D)
    pub(crate) q: TensorId,
    /// (MAX_ROWS, H·D): attended values
    pub(crate) attended: TensorId,
    /// (MAX_ROWS, F), or (MAX_ROWS, 2F) when gated
    pub(crate) up: TensorId,
    /// (MAX_ROWS, F)
    pub(crate) hidden: TensorId,
}

impl Scratch {
    pub(super) fn declare(config: &Blueprint, tensors: &mut Tensors) -> Result<Self> {
        let Widths { c, f, q, qkv, up, .. } = Widths::of(config);
        let has_head_norms = config.layers.iter().any(|layer| layer.head_norm.is_some());
        let mut rows = |name: &str, cols| tensors.declare(name, Dtype::F32, &[MAX_ROWS, cols]);
        Ok(Self {
            x: rows("x", c)?,
            xn: rows("xn", c)?,
            qkv: rows("qkv", qkv)?,
            heads: has_head_norms.then(|| rows("heads", qkv)).transpose()?,
            branch: config.has_branches().then(|| rows("branch", c)).transpose()?,
            q: rows("q", q)?,
            attended: rows("attended", q)?,
            up: rows("up", up)?,
            hidden: rows("hidden", f)?,
        })
    }

    /// Makes room for so many rows; what was there is lost.
    pub(super) fn reshape(&self, tensors: &mut Tensors, lines: usize) -> Result<()> {
        let &Self { x, xn, qkv, heads, branch, q, attended, up, hidden } = self;
        let all = [x, xn, qkv, q, attended, up, hidden].into_iter().chain(heads).chain(branch);
        for tensor in all {
            let cols = tensors.get(tensor).row_len();
            tensors.reshape(tensor, &[lines, cols])?;
        }
        Ok(())
    }
}

/// How many columns the activations of a layer have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(crate) c: usize,
    pub(crate) f: usize,
    /// H·D
    pub(crate) q: usize,
    /// K·D
    pub(crate) kv: usize,
    /// (H + 2K)·D
    pub(crate) qkv: usize,
    /// F, or 2F when gated.
    pub(crate) up: usize,
}

impl Widths {
    pub(super) fn of(config: &Blueprint) -> Self {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        Self { c, f, q, kv, qkv: q + 2 * kv, up: if config.gated { 2 * f } else { f } }
    }
}
