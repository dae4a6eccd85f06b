//! The steps of a backward plan: gradients of the adapters over a frozen base.
//! How they are computed is the backends' business.
//!
//! A window of tokens is trained in tiles of rows, forward in order and backward in reverse.
//! Names follow the forward op: the gradient by a tensor `t` is called `dt`. Only adapters have
//! gradients of their own; everything else passes dy on to dx.

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
}

impl GradOp {
    /// The stem shared by the twin, the shader and the test.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear_grad",
            Self::Shrink { .. } => "shrink_grad",
            Self::Expand { .. } => "expand_grad",
            Self::Outer { .. } => "outer_grad",
        }
    }

    /// Tensors only read, in the order of the shader's bindings.
    pub fn reads(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dy, weight, .. } => vec![dy, weight.tensor],
            Self::Shrink { rows, mixes, dy, b, .. } => vec![rows, mixes, dy, b],
            Self::Expand { rows, mixes, dz, a, .. } => vec![rows, mixes, dz, a],
            Self::Outer { rows, u, v, .. } => vec![rows, u, v],
        }
    }

    /// Tensors written (or read and written), in the order of the shader's bindings.
    pub fn writes(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dx, .. } | Self::Expand { dx, .. } => vec![dx],
            Self::Shrink { dz, .. } => vec![dz],
            Self::Outer { g, .. } => vec![g],
        }
    }

    /// Tensors with a row for every token row.
    fn activations(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dy, dx, .. } => vec![dy, dx],
            Self::Shrink { rows, dy, dz, .. } => vec![rows, dy, dz],
            Self::Expand { rows, dz, dx, .. } => vec![rows, dz, dx],
            Self::Outer { rows, u, v, .. } => vec![rows, u, v],
        }
    }

    /// Whether every shape fits for `n` rows; the message says which does not.
    pub(super) fn check(&self, tensors: &Tensors, n: usize) -> Result<(), String> {
        let cols = |id: TensorId| tensors.get(id).row_len();
        let rows_of = |id: TensorId| tensors.get(id).shape[0];
        let (reads, writes) = (self.reads(), self.writes());
        demand(writes.iter().all(|w| !reads.contains(w)), "an output is also an input")?;
        demand(self.activations().iter().all(|&t| rows_of(t) >= n), "an activation has too few rows")?;
        if let Self::Shrink { rows, .. } | Self::Expand { rows, .. } | Self::Outer { rows, .. } = *self {
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
        }
    }
}

/// The columns of each part of a fused map of `f` outputs: first and end.
pub fn edges(parts: [usize; 2], f: usize) -> Vec<[usize; 2]> {
    let firsts = [0, parts[0], parts[1], f].map(|first| first.min(f));
    firsts.windows(2).map(|w| [w[0], w[1]]).filter(|[first, end]| first < end).collect()
}

fn demand(ok: bool, what: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(what.to_owned()) }
}
