//! The steps of a backward plan: gradients of the adapters over a frozen base.
//! How they are computed is the backends' business.
//!
//! A window of tokens is trained in tiles of rows, forward in order and backward in reverse.
//! Names follow the forward op: the gradient by a tensor `t` is called `dt`. Only adapters have
//! gradients of their own; everything else passes dy on to dx.

use crate::config::Activation;

use super::{Dtype, Mix, Row, Slice, TensorId, Tensors};

/// One operation of a backward plan. As in [`Op`](super::Op), the first `n` rows of activations
/// are used.
#[derive(Clone, Debug, PartialEq)]
pub enum GradOp {
    /// dx = dy[:, first..first + F] · W (+ dx, when `accumulate`)
    Linear {
        /// (N, whole F)
        dy: TensorId,
        /// (F, C), a run of rows of the whole matrix
        weight: Slice,
        /// (N, C)
        dx: TensorId,
        /// Add to what `dx` holds instead of overwriting it.
        accumulate: bool,
    },
    /// dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f] over the outputs f of part p, for the ranks r
    /// that row n's mix has switched on; others are left as they were. Gains and shifts of
    /// adapters are not trained through.
    Shrink {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (mixes) see [`Mix`]
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
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (mixes) see [`Mix`]
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
        /// (N, 4) u32, see [`Row`]
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
        /// (N, 4) u32, see [`Row`]
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
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (N, C)
        x: TensorId,
        /// (S, C)
        y: TensorId,
    },
    /// x[n] = y[pos[n]] for active rows: what [`Self::KeepRows`] kept.
    RecallRows {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (S, C)
        y: TensorId,
        /// (N, C)
        x: TensorId,
    },
}

/// What the backward steps of attention share: the fields of
/// [`Op::Attention`](super::Op::Attention) without its output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionInputs {
    /// (N, 4) u32, see [`Row`]
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
        }
    }

    /// Tensors with a row for every token row.
    fn activations(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dy, dx, .. } => vec![dy, dx],
            Self::Shrink { rows, dy, dz, .. } => vec![rows, dy, dz],
            Self::Expand { rows, dz, dx, .. } => vec![rows, dz, dx],
            Self::Outer { rows, u, v, .. } => vec![rows, u, v],
            Self::RmsNorm { x, dy, dx, .. }
            | Self::LayerNorm { x, dy, dx, .. }
            | Self::Activation { x, dy, dx, .. } => vec![x, dy, dx],
            Self::AttentionQ { forward, dy, dq, stats } => vec![forward.rows, forward.q, dy, dq, stats],
            Self::AttentionKv { forward, dy, stats, .. } => vec![forward.rows, forward.q, dy, stats],
            Self::SplitQkv { rows, dq, dqkv, .. } => vec![rows, dq, dqkv],
            Self::KeepRows { rows, x, .. } | Self::RecallRows { rows, x, .. } => vec![rows, x],
        }
    }

    /// Whether every shape fits for `n` rows; the message says which does not.
    pub(super) fn check(&self, tensors: &Tensors, n: usize) -> Result<(), String> {
        let cols = |id: TensorId| tensors.get(id).row_len();
        let rows_of = |id: TensorId| tensors.get(id).shape[0];
        let (reads, writes) = (self.reads(), self.writes());
        demand(writes.iter().all(|w| !reads.contains(w)), "an output is also an input")?;
        demand(self.activations().iter().all(|&t| rows_of(t) >= n), "an activation has too few rows")?;
        if let Self::Shrink { rows, .. }
        | Self::Expand { rows, .. }
        | Self::Outer { rows, .. }
        | Self::AttentionQ { forward: AttentionInputs { rows, .. }, .. }
        | Self::AttentionKv { forward: AttentionInputs { rows, .. }, .. }
        | Self::SplitQkv { rows, .. }
        | Self::KeepRows { rows, .. }
        | Self::RecallRows { rows, .. } = *self
        {
            let t = tensors.get(rows);
            demand(t.dtype == Dtype::U32 && 4 * t.row_len() == size_of::<Row>(), "rows is not (N, 4) u32")?;
        }
        if let Self::Shrink { mixes, .. } | Self::Expand { mixes, .. } = *self {
            demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
        }
        match *self {
            Self::Linear { dy, weight, dx, .. } => {
                demand(cols(dx) == cols(weight.tensor), "dx and weight differ in C")?;
                let end = weight.first + rows_of(weight.tensor);
                demand(end <= cols(dy), "weight has more rows than dy columns")
            }
            Self::Shrink { dy, b, dz, ranks, parts, .. } => {
                demand(cols(b) == cols(dy), "b and dy differ in F")?;
                demand(rows_of(b) >= ranks, "b has too few ranks")?;
                demand(edges(parts, cols(dy)).len() * ranks <= cols(dz), "dz has too few ranks")
            }
            Self::Expand { dz, a, dx, ranks, .. } => {
                demand(cols(dx) == cols(a), "dx and a differ in C")?;
                demand(rows_of(a) <= cols(dz) && rows_of(a) % ranks == 0, "a and dz differ in ranks")
            }
            Self::Outer { u, u_first, v, g, g_first, count, cols: [first, end], .. } => {
                demand(u_first + count <= cols(u), "u has too few columns")?;
                demand(g_first + count <= rows_of(g), "g has too few rows")?;
                demand(cols(g) == cols(v), "g and v differ in columns")?;
                demand(first < end && end <= cols(v), "columns outside v")
            }
            Self::RmsNorm { x, weight, dy, dx, .. } | Self::LayerNorm { x, weight, dy, dx, .. } => {
                let c = rows_of(weight);
                demand([x, dy, dx].iter().all(|&t| cols(t) == c), "x, weight, dy and dx differ in C")
            }
            Self::Activation { x, dy, dx, gated, .. } => {
                let width = if gated { 2 * cols(dy) } else { cols(dy) };
                demand(cols(x) == width && cols(dx) == width, "x, dy and dx differ in F")
            }
            Self::AttentionQ { forward, dy, dq, stats } => {
                let AttentionInputs { q, k_cache, v_cache, head_dim, .. } = forward;
                check_caches(tensors, k_cache, v_cache)?;
                check_heads(tensors, q, k_cache, head_dim)?;
                demand(cols(dy) == cols(q) && cols(dq) == cols(q), "q, dy and dq differ")?;
                demand(cols(stats) == 2 * cols(q) / head_dim, "stats is not (N, 2·H)")
            }
            Self::AttentionKv { forward, dy, stats, dk_cache, dv_cache } => {
                let AttentionInputs { q, k_cache, v_cache, head_dim, .. } = forward;
                check_caches(tensors, k_cache, v_cache)?;
                check_caches(tensors, dk_cache, dv_cache)?;
                let cell = |cache: TensorId| &tensors.get(cache).shape[1..];
                demand(cell(dk_cache) == cell(k_cache), "the gradient caches' slots are not (S, K·D)")?;
                check_heads(tensors, q, k_cache, head_dim)?;
                demand(cols(dy) == cols(q), "q and dy differ")?;
                demand(cols(stats) == 2 * cols(q) / head_dim, "stats is not (N, 2·H)")
            }
            Self::SplitQkv { dq, dk_cache, dv_cache, rope, dqkv, head_dim, .. } => {
                check_caches(tensors, dk_cache, dv_cache)?;
                check_heads(tensors, dq, dk_cache, head_dim)?;
                let [_, s, kv_cols] = tensors.get(dk_cache).shape[..] else { unreachable!("just checked") };
                demand(cols(dqkv) == cols(dq) + 2 * kv_cols, "dqkv is not dq, dk and dv side by side")?;
                demand(cols(rope) == head_dim && rows_of(rope) >= s, "rope is not (S, D)")
            }
            Self::KeepRows { x, y, .. } | Self::RecallRows { x, y, .. } => {
                demand(cols(x) == cols(y), "x and y differ in C")
            }
        }
    }
}

/// The columns of each part of a fused map of `f` outputs: first and end.
pub fn edges(parts: [usize; 2], f: usize) -> Vec<[usize; 2]> {
    let firsts = [0, parts[0], parts[1], f].map(|first| first.min(f));
    firsts.windows(2).map(|w| [w[0], w[1]]).filter(|[first, end]| first < end).collect()
}

fn check_caches(tensors: &Tensors, a: TensorId, b: TensorId) -> Result<(), String> {
    let (a, b) = (tensors.get(a), tensors.get(b));
    demand(a.shape.len() == 3 && a.shape == b.shape, "caches are not (slots, S, K·D)")
}

fn check_heads(tensors: &Tensors, q: TensorId, k_cache: TensorId, head_dim: usize) -> Result<(), String> {
    let (q_cols, kv_cols) = (tensors.get(q).row_len(), tensors.get(k_cache).shape[2]);
    let fit = q_cols % kv_cols == 0 && kv_cols % head_dim == 0;
    demand(fit, "query heads are no multiple of key heads")
}

fn demand(ok: bool, what: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(what.to_owned()) }
}
