//! The steps of a backward plan: gradients of the adapters over a frozen base.
//! How they are computed is the backends' business.
//!
//! A window of tokens is trained in tiles of rows, forward in order and backward in reverse.
//! Names follow the forward op: the gradient by a tensor `t` is called `dt`. Only adapters have
//! gradients of their own; everything else passes dy on to dx.

mod check;

use crate::activation::Activation;

use super::{Slice, TensorId};

/// One operation of a backward plan. As in [`Op`](super::Op), the first `n` rows of activations
/// are used.
#[derive(Clone, Debug, PartialEq)]
pub enum GradOp {
    /// dx[dx_first + n] = dy[n, first..first + F] · W (+ dx, when `accumulate`)
    Linear {
        /// (N, whole F)
        dy: TensorId,
        /// (F, C), a run of rows of the whole matrix
        weight: Slice,
        /// (≥ dx_first + N, C)
        dx: TensorId,
        /// First row of dx.
        dx_first: usize,
        /// Add to what `dx` holds instead of overwriting it.
        accumulate: bool,
    },
    /// dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f] over the outputs f of part p, for the ranks r
    /// that row n's mix has switched on; others are left as they were. Gains and shifts of
    /// adapters are not trained through.
    Shrink {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (mixes) see [`Mix`](super::Mix)
        mixes: TensorId,
        /// (N, F)
        dy: TensorId,
        /// (≥ R, F)
        b: TensorId,
        /// (N, ≥ parts·R)
        dz: TensorId,
        /// R
        ranks: usize,
        /// First output of the second and of the third part, see [`Delta`](super::Delta)
        parts: [usize; 2],
    },
    /// dx[n] = Σ dz[n, r]·a[r] (+ dx, when `accumulate`), over the ranks of all parts that row
    /// n's mix has switched on
    Expand {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (mixes) see [`Mix`](super::Mix)
        mixes: TensorId,
        /// (N, ≥ parts·R)
        dz: TensorId,
        /// (parts·R, C)
        a: TensorId,
        /// (N, C)
        dx: TensorId,
        /// R
        ranks: usize,
        /// Add to what `dx` holds instead of overwriting it.
        accumulate: bool,
    },
    /// g[g_first + r, j] += Σ u[n, u_first + r]·v[n, j] over the active rows n, for r < `count`
    /// and j in `cols`.
    ///
    /// With u = dz and v = x it is the gradient of A, with u = z and v = dy that of B. γ is in z
    /// and in dz, so both are exact. Every active row's mix must have these ranks switched on.
    Outer {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (N, ≥ u_first + count)
        u: TensorId,
        /// First column of u.
        u_first: usize,
        /// (N, V)
        v: TensorId,
        /// (≥ g_first + count, V)
        g: TensorId,
        /// First row of g.
        g_first: usize,
        /// Rows of g.
        count: usize,
        /// First and end of the columns of v and g.
        cols: [usize; 2],
    },
    /// dx += dy · d rms_norm(x) / dx; the weight is frozen
    RmsNorm {
        /// (N, C)
        x: TensorId,
        /// (C)
        weight: TensorId,
        /// (N, C)
        dy: TensorId,
        /// (N, C), read and written
        dx: TensorId,
        /// Added to the mean square.
        eps: f32,
    },
    /// dx += dy · d layer_norm(x) / dx; weight and bias are frozen
    LayerNorm {
        /// (N, C)
        x: TensorId,
        /// (C)
        weight: TensorId,
        /// (N, C)
        dy: TensorId,
        /// (N, C), read and written
        dx: TensorId,
        /// Added to the variance.
        eps: f32,
    },
    /// dx = dy ∘ act'(x), or [dy ∘ up ∘ act'(gate) | dy ∘ act(gate)] where `gated` and
    /// x = [gate | up]
    Activation {
        /// (N, F), or (N, 2F) when gated
        x: TensorId,
        /// (N, F)
        dy: TensorId,
        /// As x.
        dx: TensorId,
        /// Which function.
        kind: Activation,
        /// Whether x holds gate and up side by side.
        gated: bool,
    },
    /// dq of [`Op::Attention`](super::Op::Attention), and what [`Self::AttentionKv`] needs of its
    /// softmax. Inactive rows write nothing.
    AttentionQ {
        /// The forward step's inputs and parameters.
        forward: AttentionInputs,
        /// (N, H·D)
        dy: TensorId,
        /// (N, H·D)
        dq: TensorId,
        /// (N, 2·H): per head the logarithm of the softmax' denominator, and Σ p·(dy · v)
        stats: TensorId,
    },
    /// Adds to the gradients of the keys and values that the rows of
    /// [`Op::Attention`](super::Op::Attention) see. Rows of later tiles have added theirs before:
    /// when its own tile is reached, a position's gradient is complete.
    AttentionKv {
        /// The forward step's inputs and parameters.
        forward: AttentionInputs,
        /// (N, H·D)
        dy: TensorId,
        /// (N, 2·H), from [`Self::AttentionQ`]
        stats: TensorId,
        /// (slots, S, K·D), read and written; it needs no more slots than those of the rows
        dk_cache: TensorId,
        /// (slots, S, K·D), read and written
        dv_cache: TensorId,
    },
    /// dqkv[n] = [dq | dK at [slot, pos] | dV at [slot, pos]], dq and dK rotated back. Inactive
    /// rows write nothing.
    SplitQkv {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (N, H·D)
        dq: TensorId,
        /// (slots, S, K·D)
        dk_cache: TensorId,
        /// (slots, S, K·D)
        dv_cache: TensorId,
        /// (≥ S, D)
        rope: TensorId,
        /// (N, (H + 2K)·D)
        dqkv: TensorId,
        /// D
        head_dim: usize,
    },
    /// y[pos[n]] = x[n] for active rows: a checkpoint of activations, by position.
    KeepRows {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (N, C)
        x: TensorId,
        /// (S, C)
        y: TensorId,
    },
    /// x[n] = y[pos[n]] for active rows: what [`Self::KeepRows`] kept.
    RecallRows {
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (S, C)
        y: TensorId,
        /// (N, C)
        x: TensorId,
    },
    /// logits[n] ← (softmax(logits[n]) − onehot(targets[n])) · loss_weight, and
    /// loss[n] = −ln softmax(logits[n])[targets[n]]; both 0 where there is no target.
    CrossEntropy {
        /// (12) u32, see [`Training`](super::Training)
        training: TensorId,
        /// (N) u32: token ids, or [`INACTIVE`](super::INACTIVE)
        targets: TensorId,
        /// (N, V), read and written
        logits: TensorId,
        /// (N): nats, without the weight
        loss: TensorId,
    },
    /// sums[index] = Σ g², for the norm of all gradients
    SquareSum {
        /// Any shape.
        g: TensorId,
        /// (gradients)
        sums: TensorId,
        /// Which one this is.
        index: usize,
    },
    /// A step of AdamW (arXiv:1711.05101, as in `torch.optim`) on `len` parameters, clipped by
    /// the norm of all gradients; zeroes their gradients.
    AdamW {
        /// (12) u32, see [`Training`](super::Training)
        training: TensorId,
        /// (gradients), from [`Self::SquareSum`]
        sums: TensorId,
        /// Gradients, read and zeroed from `g_first` on.
        g: TensorId,
        /// First moments, as g.
        m: TensorId,
        /// Second moments, as g.
        v: TensorId,
        /// First element of g, m and v.
        g_first: usize,
        /// Parameters, read and written from `param_first` on.
        param: TensorId,
        /// First element of param.
        param_first: usize,
        /// How many.
        len: usize,
    },
    /// y = x ∘ keep / (1 − p) (+ y, when `accumulate`), where keep is 0 with probability p, a
    /// function of seed, site, position and column alone: it is its own gradient.
    Dropout {
        /// (12) u32, see [`Training`](super::Training)
        training: TensorId,
        /// (N, 4) u32, see [`Row`](super::Row)
        rows: TensorId,
        /// (N, C)
        x: TensorId,
        /// (N, C)
        y: TensorId,
        /// Names the noise among those of one step.
        site: u32,
        /// Add to what `y` holds instead of overwriting it.
        accumulate: bool,
    },
}

/// What the backward steps of attention share: the fields of
/// [`Op::Attention`](super::Op::Attention) without its output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionInputs {
    /// (N, 4) u32, see [`Row`](super::Row)
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
    /// Keys a query sees, itself included; 0 is all.
    pub window: usize,
}

impl AttentionInputs {
    fn tensors(&self) -> [TensorId; 4] {
        [self.rows, self.q, self.k_cache, self.v_cache]
    }
}

impl GradOp {
    /// The stem shared by the twin, the shader and the test.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear_grad",
            Self::Shrink { .. } => "shrink_grad",
            Self::Expand { .. } => "expand_grad",
            Self::Outer { .. } => "outer_grad",
            Self::RmsNorm { .. } => "rms_norm_grad",
            Self::LayerNorm { .. } => "layer_norm_grad",
            Self::Activation { .. } => "activation_grad",
            Self::AttentionQ { .. } => "attention_grad_q",
            Self::AttentionKv { .. } => "attention_grad_kv",
            Self::SplitQkv { .. } => "split_qkv_grad",
            Self::KeepRows { .. } => "keep_rows",
            Self::RecallRows { .. } => "recall_rows",
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::SquareSum { .. } => "square_sum",
            Self::AdamW { .. } => "adam_w",
            Self::Dropout { .. } => "dropout",
        }
    }

    /// Tensors only read, in the order of the shader's bindings.
    pub fn reads(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dy, weight, .. } => vec![dy, weight.tensor],
            Self::Shrink { rows, mixes, dy, b, .. } => vec![rows, mixes, dy, b],
            Self::Expand { rows, mixes, dz, a, .. } => vec![rows, mixes, dz, a],
            Self::Outer { rows, u, v, .. } => vec![rows, u, v],
            Self::RmsNorm { x, weight, dy, .. } | Self::LayerNorm { x, weight, dy, .. } => {
                vec![x, weight, dy]
            }
            Self::Activation { x, dy, .. } => vec![x, dy],
            Self::AttentionQ { forward, dy, .. } => [&forward.tensors()[..], &[dy]].concat(),
            Self::AttentionKv { forward, dy, stats, .. } => [&forward.tensors()[..], &[dy, stats]].concat(),
            Self::SplitQkv { rows, dq, dk_cache, dv_cache, rope, .. } => {
                vec![rows, dq, dk_cache, dv_cache, rope]
            }
            Self::KeepRows { rows, x, .. } => vec![rows, x],
            Self::RecallRows { rows, y, .. } => vec![rows, y],
            Self::CrossEntropy { training, targets, .. } => vec![training, targets],
            Self::SquareSum { g, .. } => vec![g],
            Self::AdamW { training, sums, .. } => vec![training, sums],
            Self::Dropout { training, rows, x, .. } => vec![training, rows, x],
        }
    }

    /// Tensors written (or read and written), in the order of the shader's bindings.
    pub fn writes(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dx, .. }
            | Self::Expand { dx, .. }
            | Self::RmsNorm { dx, .. }
            | Self::LayerNorm { dx, .. }
            | Self::Activation { dx, .. } => vec![dx],
            Self::Shrink { dz, .. } => vec![dz],
            Self::Outer { g, .. } => vec![g],
            Self::AttentionQ { dq, stats, .. } => vec![dq, stats],
            Self::AttentionKv { dk_cache, dv_cache, .. } => vec![dk_cache, dv_cache],
            Self::SplitQkv { dqkv, .. } => vec![dqkv],
            Self::KeepRows { y, .. } => vec![y],
            Self::RecallRows { x, .. } => vec![x],
            Self::CrossEntropy { logits, loss, .. } => vec![logits, loss],
            Self::SquareSum { sums, .. } => vec![sums],
            Self::AdamW { g, m, v, param, .. } => vec![g, m, v, param],
            Self::Dropout { y, .. } => vec![y],
        }
    }
}

/// The columns of each part of a fused map of `f` outputs: first and end.
pub fn part_columns(parts: [usize; 2], f: usize) -> Vec<[usize; 2]> {
    let firsts = [0, parts[0], parts[1], f].map(|first| first.min(f));
    firsts.windows(2).map(|w| [w[0], w[1]]).filter(|[first, end]| first < end).collect()
}
