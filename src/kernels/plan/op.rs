//! The steps a plan is made of: what each reads, writes and demands of shapes.
//! How they are computed is the backends' business.

use crate::activation::Activation;

use super::{Dtype, FEW_ROWS, GradOp, Mix, RING, Row, Sampling, TensorId, Tensors};

/// A run of rows of a tensor that is too large for one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The rows themselves, `(rows, ..)`.
    pub tensor: TensorId,
    /// Index of its first row in the whole.
    pub first: usize,
}

/// What the active adapters add to a linear map: the expand half of `B·(γ ∘ A·x)`.
///
/// `b` is B transposed: `R` rows of ranks, stacked over all adapters, then per adapter a row of
/// gains, then per adapter a row of shifts: y ← y·(1 + Σ γ·gain) + Σ γ·shift + Σ z·b. Which
/// blocks of ranks act on a token row, and how strongly, is the [`Mix`](super::Mix) its [`Row`]
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// (N, 4) u32, see [`Row`]
    pub rows: TensorId,
    /// (mixes) see [`Mix`](super::Mix)
    pub mixes: TensorId,
    /// (N, ≥ parts·partials·R): what a [`Shrink`] left
    pub z: TensorId,
    /// (R + 2·adapters, whole F)
    pub b: TensorId,
    /// R
    pub ranks: usize,
    /// As in the [`Shrink`]; more than 1 for at most [`FEW_ROWS`] rows.
    pub partials: usize,
    /// First output of the second and of the third part, where one matrix serves several
    /// projections; outputs of part p read ranks p·partials·R.. of z.
    pub parts: [usize; 2],
}

/// The half of an adapter that reads a linear map's input:
/// z[n, (p·partials + k)·R + r] = γ[r] · A[p·R + r] · x[n], the sum over the k-th of `partials`
/// equal pieces of x, for the ranks r that row n's mix has switched on. Others are left as they
/// were, and no one reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// (N, 4) u32, see [`Row`]
    pub rows: TensorId,
    /// (mixes) see [`Mix`](super::Mix)
    pub mixes: TensorId,
    /// (parts·R, C)
    pub a: TensorId,
    /// (N, ≥ parts·partials·R)
    pub z: TensorId,
    /// R
    pub ranks: usize,
    /// Pieces of x whose sums stay apart, because different workgroups make them: 1, or the
    /// heads of an attention.
    pub partials: usize,
}

/// Rows of an embedding or a head that adapters replace: row `map[adapter, token]` of `deltas`, if
/// it is not [`ABSENT`], is what the adapter's row for the token has more than the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// (adapters, V) u32
    pub map: TensorId,
    /// (any, C)
    pub deltas: TensorId,
}

/// One operation. Activations are declared with room for the largest call; the first `n` rows
/// (the plan's `n`) are used.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// y[n] = table[token[n]] (+ positions[pos[n]]), for the tokens that `table` holds.
    Embed {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (≤ V, C)
        table: Slice,
        /// (S, C)
        positions: Option<TensorId>,
        /// (N, C)
        y: TensorId,
    },
    /// y[n] ← y[n] ∘ (1 + Σ γ·gain) + Σ γ·shift + Σ γ·a[:, token[n]]·b + Σ γ·deltas[map[token[n]]],
    /// over the adapters of row n's mix: what they add to an embedding
    EmbedDelta {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (mixes) see [`Mix`](super::Mix)
        mixes: TensorId,
        /// (R, V)
        a: TensorId,
        /// (R + 2·adapters, C), as in [`Delta`]
        b: TensorId,
        /// R; 0 where no adapter acts through a and b
        ranks: usize,
        /// Rows of the embedding that are replaced; `None` where none are.
        replaced: Option<Replaced>,
        /// (N, C), read and written
        y: TensorId,
    },
    /// logits[n, token] += Σ γ·deltas[map[token]]·x[n], over the adapters of row n's mix
    HeadDelta {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (mixes) see [`Mix`](super::Mix)
        mixes: TensorId,
        /// (N, C)
        x: TensorId,
        /// Rows of the head that are replaced.
        replaced: Replaced,
        /// (N, V), read and written
        logits: TensorId,
    },
    /// y = x̂ · weight (+ bias), and z = A·y for the adapters of the maps that read y.
    /// x̂ = x / √(mean(x²) + eps), or (x − mean(x)) / √(var(x) + eps) where `centred`
    Norm {
        /// (N, C)
        x: TensorId,
        /// (C)
        weight: TensorId,
        /// (C)
        bias: Option<TensorId>,
        /// (N, C)
        y: TensorId,
        /// Added to the mean square.
        eps: f32,
        /// LayerNorm (arXiv:1607.06450), not RMSNorm (arXiv:1910.07467).
        centred: bool,
        /// What rides along.
        shrink: Option<Shrink>,
    },
    /// z = γ ∘ A·x, see [`Shrink`]
    Shrink {
        /// (N, C)
        x: TensorId,
        /// The rest.
        shrink: Shrink,
    },
    /// x[n] ← x[n] ∘ (1 + Σ γ·gain) + Σ γ·shift, over the adapters of row n's mix
    Affine {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (mixes) see [`Mix`](super::Mix)
        mixes: TensorId,
        /// (2·adapters, C) = [gains; shifts]
        gains: TensorId,
        /// (N, C), read and written
        x: TensorId,
    },
    /// y[:, first..first + F] = delta(x · Wᵀ) (+ bias) (+ y, when `accumulate`)
    Linear {
        /// (N, C)
        x: TensorId,
        /// (F, C), a run of rows of the whole matrix
        weight: Slice,
        /// (whole F)
        bias: Option<TensorId>,
        /// (N, whole F)
        y: TensorId,
        /// Add to what `y` holds (the residual) instead of overwriting it.
        accumulate: bool,
        /// What adapters add.
        delta: Option<Delta>,
    },
    /// y = act(x), or act(gate) ∘ up where `gated` and x = [gate | up]
    Activation {
        /// (N, F), or (N, 2F) when gated
        x: TensorId,
        /// (N, F)
        y: TensorId,
        /// Which function.
        kind: Activation,
        /// Whether x carries a gate.
        gated: bool,
    },
    /// Parts each row of qkv: q rotated to `q`, k rotated and v into the cache at [slot, pos].
    SplitQkv {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (N, (H + 2K)·D) = [q heads | k heads | v heads]
        qkv: TensorId,
        /// (S, D): row p is cos of the D/2 angles, then sin
        rope: TensorId,
        /// (N, H·D)
        q: TensorId,
        /// (slots, S, K·D)
        k_cache: TensorId,
        /// (slots, S, K·D)
        v_cache: TensorId,
        /// D
        head_dim: usize,
    },
    /// y = softmax(scale · q · Kᵀ) · V over keys 0..=pos of the row's slot, the last `window`
    /// of them if not 0; query heads share key heads in groups of H/K.
    Attention {
        /// (N, 4) u32, see [`Row`]
        rows: TensorId,
        /// (N, H·D)
        q: TensorId,
        /// (slots, S, K·D)
        k_cache: TensorId,
        /// (slots, S, K·D)
        v_cache: TensorId,
        /// (N, H·D)
        y: TensorId,
        /// D
        head_dim: usize,
        /// Factor on the scores.
        scale: f32,
        /// Keys a query sees, itself included; 0 is all.
        window: usize,
        /// z = A·y for the adapters of the map that reads y, one partial a head.
        shrink: Option<Shrink>,
    },
    /// Draws the next token of every active row and moves the row one position on.
    ///
    /// Reads the row's slot's [`Sampling`]; notes the token in `seen` and, by its position, in
    /// `ring`; makes the row inactive on a stop token.
    Sample {
        /// (N, V)
        logits: TensorId,
        /// (slots, 12), see [`Sampling`]
        sampling: TensorId,
        /// (slots, ⌈V/32⌉) bits, read and written
        seen: TensorId,
        /// (N, 4) u32, read and written
        rows: TensorId,
        /// (slots, [`RING`]) u32, written
        ring: TensorId,
    },
    /// A step of a backward plan.
    Grad(GradOp),
}

impl Op {
    /// The stem shared by the twin, the shader and the test.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "embed",
            Self::EmbedDelta { .. } => "embed_delta",
            Self::HeadDelta { .. } => "head_delta",
            Self::Norm { .. } => "norm",
            Self::Shrink { .. } => "shrink",
            Self::Affine { .. } => "affine",
            Self::Linear { .. } => "linear",
            Self::Activation { .. } => "activation",
            Self::SplitQkv { .. } => "split_qkv",
            Self::Attention { .. } => "attention",
            Self::Sample { .. } => "sample",
            Self::Grad(op) => op.name(),
        }
    }

    /// The one tensor it reads that may be packed.
    pub fn weight(&self) -> Option<TensorId> {
        match *self {
            Self::Embed { table: weight, .. }
            | Self::Linear { weight, .. }
            | Self::Grad(GradOp::Linear { weight, .. }) => Some(weight.tensor),
            _ => None,
        }
    }

    /// Tensors only read, in the order of the shader's bindings.
    pub fn reads(&self) -> Vec<TensorId> {
        match *self {
            Self::Embed { rows, table, positions, .. } => {
                [rows, table.tensor].into_iter().chain(positions).collect()
            }
            Self::EmbedDelta { rows, mixes, a, b, replaced, .. } => {
                let replaced = replaced.map(|r| [r.map, r.deltas]);
                [rows, mixes, a, b].into_iter().chain(replaced.into_iter().flatten()).collect()
            }
            Self::HeadDelta { rows, mixes, x, replaced, .. } => {
                vec![rows, mixes, x, replaced.map, replaced.deltas]
            }
            Self::Norm { x, weight, bias, shrink, .. } => {
                [x, weight].into_iter().chain(bias).chain(shrink.iter().flat_map(Shrink::reads)).collect()
            }
            Self::Shrink { x, ref shrink } => [x].into_iter().chain(shrink.reads()).collect(),
            Self::Affine { rows, mixes, gains, .. } => vec![rows, mixes, gains],
            Self::Linear { x, weight, bias, delta, .. } => {
                let delta = delta.map(|d| [d.rows, d.mixes, d.z, d.b]);
                [x, weight.tensor].into_iter().chain(bias).chain(delta.into_iter().flatten()).collect()
            }
            Self::Activation { x, .. } => vec![x],
            Self::SplitQkv { rows, qkv, rope, .. } => vec![rows, qkv, rope],
            Self::Attention { rows, q, k_cache, v_cache, shrink, .. } => {
                let shrink = shrink.map(|s| [s.mixes, s.a]);
                [rows, q, k_cache, v_cache].into_iter().chain(shrink.into_iter().flatten()).collect()
            }
            Self::Sample { logits, sampling, .. } => vec![logits, sampling],
            Self::Grad(ref op) => op.reads(),
        }
    }

    /// Tensors written (or read and written), in the order of the shader's bindings.
    pub fn writes(&self) -> Vec<TensorId> {
        match *self {
            Self::Embed { y, .. } | Self::Linear { y, .. } | Self::Activation { y, .. } => vec![y],
            Self::Norm { y, shrink, .. } | Self::Attention { y, shrink, .. } => {
                [y].into_iter().chain(shrink.map(|s| s.z)).collect()
            }
            Self::Shrink { shrink, .. } => vec![shrink.z],
            Self::EmbedDelta { y, .. } => vec![y],
            Self::HeadDelta { logits, .. } => vec![logits],
            Self::Affine { x, .. } => vec![x],
            Self::SplitQkv { q, k_cache, v_cache, .. } => vec![q, k_cache, v_cache],
            Self::Sample { seen, rows, ring, .. } => vec![seen, rows, ring],
            Self::Grad(ref op) => op.writes(),
        }
    }

    /// Whether every shape fits for `n` rows; the message says which does not.
    pub(super) fn check(&self, tensors: &Tensors, n: usize) -> Result<(), String> {
        let cols = |id: TensorId| tensors.get(id).row_len();
        let rows_of = |id: TensorId| tensors.get(id).shape[0];
        let demand = |ok: bool, what: &str| if ok { Ok(()) } else { Err(what.to_owned()) };
        let (reads, writes) = (self.reads(), self.writes());
        demand(writes.iter().all(|w| !reads.contains(w)), "an output is also an input")?;
        let packed = reads.iter().chain(&writes).filter(|&&t| tensors.get(t).dtype.is_packed());
        demand(packed.into_iter().all(|&t| self.weight() == Some(t)), "a tensor is packed that may not be")?;
        let activations = match *self {
            Self::Embed { rows, y, .. } => vec![rows, y],
            Self::Norm { x, y, .. } | Self::Linear { x, y, .. } | Self::Activation { x, y, .. } => vec![x, y],
            Self::Shrink { x, .. } => vec![x],
            Self::EmbedDelta { rows, y, .. } => vec![rows, y],
            Self::HeadDelta { rows, x, logits, .. } => vec![rows, x, logits],
            Self::Affine { rows, x, .. } => vec![rows, x],
            Self::SplitQkv { rows, qkv, q, .. } => vec![rows, qkv, q],
            Self::Attention { rows, q, y, .. } => vec![rows, q, y],
            Self::Sample { rows, logits, .. } => vec![rows, logits],
            Self::Grad(_) => vec![],
        };
        demand(activations.iter().all(|&t| rows_of(t) >= n), "an activation has too few rows")?;
        if let Self::Embed { rows, .. }
        | Self::SplitQkv { rows, .. }
        | Self::EmbedDelta { rows, .. }
        | Self::HeadDelta { rows, .. }
        | Self::Norm { shrink: Some(Shrink { rows, .. }), .. }
        | Self::Shrink { shrink: Shrink { rows, .. }, .. }
        | Self::Affine { rows, .. }
        | Self::Linear { delta: Some(Delta { rows, .. }), .. }
        | Self::Attention { rows, .. }
        | Self::Sample { rows, .. } = *self
        {
            let t = tensors.get(rows);
            demand(t.dtype == Dtype::U32 && 4 * t.row_len() == size_of::<Row>(), "rows is not (N, 4) u32")?;
        }
        match *self {
            Self::Embed { table, positions, y, .. } => {
                demand(cols(table.tensor) == cols(y), "table and y differ in C")?;
                demand(positions.is_none_or(|p| cols(p) == cols(y)), "positions and y differ in C")
            }
            Self::EmbedDelta { mixes, a, b, ranks, replaced, y, .. } => {
                demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
                if ranks > 0 {
                    demand(rows_of(a) == ranks && rows_of(b) >= ranks, "a and b differ in ranks")?;
                    demand(cols(b) == cols(y), "b and y differ in C")?;
                }
                demand(replaced.is_none_or(|r| cols(r.deltas) == cols(y)), "deltas and y differ in C")
            }
            Self::HeadDelta { mixes, x, replaced, logits, .. } => {
                demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
                demand(cols(replaced.deltas) == cols(x), "deltas and x differ in C")?;
                demand(cols(replaced.map) == cols(logits), "map and logits differ in V")
            }
            Self::Norm { x, weight, bias, y, shrink, .. } => {
                let c = cols(x);
                let fits = |vector: TensorId| rows_of(vector) == c;
                demand(
                    c == cols(y) && fits(weight) && bias.is_none_or(fits),
                    "x, weight, bias and y differ in C",
                )?;
                shrink.map_or(Ok(()), |shrink| shrink.check(tensors, n, c, 1))
            }
            Self::Shrink { x, shrink } => shrink.check(tensors, n, cols(x), 1),
            Self::Affine { mixes, gains, x, .. } => {
                demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
                demand(cols(gains) == cols(x) && rows_of(gains) % 2 == 0, "gains is not (2·adapters, C)")
            }
            Self::Linear { x, weight, bias, y, delta, .. } => {
                demand(cols(x) == cols(weight.tensor), "x and weight differ in C")?;
                if let Some(delta) = delta {
                    demand(cols(delta.b) == cols(y), "b and y differ in F")?;
                    demand(rows_of(delta.b) >= delta.ranks && rows_of(delta.z) >= n, "b or z is too small")?;
                    demand(delta.partials == 1 || n <= FEW_ROWS, "partial sums of many rows")?;
                }
                demand(
                    weight.first + rows_of(weight.tensor) <= cols(y),
                    "weight has more rows than y columns",
                )?;
                demand(bias.is_none_or(|b| rows_of(b) == cols(y)), "bias and y differ in F")
            }
            Self::Activation { x, y, gated, .. } => {
                demand(cols(x) == if gated { 2 * cols(y) } else { cols(y) }, "x and y differ in F")
            }
            Self::SplitQkv { qkv, rope, q, k_cache, v_cache, head_dim, .. } => {
                let (k, v) = (tensors.get(k_cache), tensors.get(v_cache));
                demand(
                    k.shape.len() == 3 && k.shape == v.shape,
                    "k_cache and v_cache are not (slots, S, K·D)",
                )?;
                demand(cols(qkv) == cols(q) + 2 * k.shape[2], "qkv is not q, k and v side by side")?;
                demand(cols(q) % head_dim == 0 && k.shape[2] % head_dim == 0, "heads are not D wide")?;
                demand(cols(rope) == head_dim && rows_of(rope) >= k.shape[1], "rope is not (S, D)")
            }
            Self::Attention { rows, q, k_cache, v_cache, y, head_dim, shrink, .. } => {
                let (k, v) = (tensors.get(k_cache), tensors.get(v_cache));
                demand(
                    k.shape.len() == 3 && k.shape == v.shape,
                    "k_cache and v_cache are not (slots, S, K·D)",
                )?;
                demand(cols(q) == cols(y), "q and y differ")?;
                demand(
                    cols(q) % k.shape[2] == 0 && k.shape[2] % head_dim == 0,
                    "query heads are no multiple of key heads",
                )?;
                demand(shrink.is_none_or(|shrink| shrink.rows == rows), "two tensors of rows")?;
                shrink.map_or(Ok(()), |shrink| shrink.check(tensors, n, cols(y), cols(y) / head_dim))
            }
            Self::Sample { logits, sampling, seen, ring, .. } => {
                demand(4 * cols(sampling) == size_of::<Sampling>(), "sampling is not (slots, 12)")?;
                demand(cols(seen) == cols(logits).div_ceil(32), "seen is not (slots, ⌈V/32⌉)")?;
                demand(cols(ring) == RING, "ring is not (slots, RING)")?;
                demand(
                    rows_of(sampling) == rows_of(ring) && rows_of(sampling) == rows_of(seen),
                    "slots differ",
                )
            }
            Self::Grad(ref op) => op.check(tensors, n),
        }
    }
}

impl Shrink {
    fn reads(&self) -> [TensorId; 3] {
        [self.rows, self.mixes, self.a]
    }

    /// Whether it fits an input of `c` columns.
    fn check(&self, tensors: &Tensors, n: usize, c: usize, partials: usize) -> Result<(), String> {
        let Self { mixes, a, z, ranks, .. } = *self;
        let cols = |id: TensorId| tensors.get(id).row_len();
        let rows_of_a = tensors.get(a).shape[0];
        let demand = |ok: bool, what: &str| if ok { Ok(()) } else { Err(what.to_owned()) };
        demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
        demand(self.partials == partials, "another number of partial sums")?;
        demand(cols(a) == c, "x and a differ in C")?;
        demand(
            rows_of_a.is_multiple_of(ranks) && rows_of_a * partials <= cols(z),
            "a and z differ in ranks",
        )?;
        demand(tensors.get(z).shape[0] >= n, "z has too few rows")
    }
}
