//! The half of adapters that a linear map adds to its output.
//! The half that reads its input is in `down_projection`.

use super::{Call, Fit, Shapes, demand};
use crate::control::FEW_ROWS;
use crate::tensor::TensorId;
use crate::twin::linear::DeltaData;

/// What the active adapters add to a linear map: the expand half of `B·(γ ∘ A·x)`.
///
/// `b` is B transposed: `R` rows of ranks, stacked over all adapters, then per adapter a row of
/// gains, then per adapter a row of shifts: y ← y·(1 + Σ γ·gain) + Σ γ·shift + Σ z·b. Which
/// blocks of ranks act on a token row, and how strongly, is the [`Mix`](crate::control::Mix) its
/// [`Row`](crate::control::Row) names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (N, ≥ parts·partials·R): what a [`DownProjection`](super::DownProjection) left
    pub z: TensorId,
    /// (R + 2·adapters, whole F)
    pub b: TensorId,
    /// R
    pub ranks: usize,
    /// As in the [`DownProjection`](super::DownProjection); more than 1 for at most [`FEW_ROWS`] rows.
    pub partials: usize,
    /// First output of the second and of the third part, where one matrix serves several
    /// projections; outputs of part p read ranks p·partials·R.. of z.
    pub parts: [usize; 2],
}

impl Delta {
    /// Tensors read, in the order of the shader's bindings.
    pub fn reads(&self) -> [TensorId; 4] {
        [self.rows, self.mixes, self.z, self.b]
    }

    /// Whether it fits an output of `f` columns.
    pub(crate) fn check(&self, shapes: &Shapes, f: usize) -> Fit {
        shapes.rows(self.rows)?;
        demand(shapes.cols(self.b) == f, "b and y differ in F")?;
        let fits = shapes.lines(self.b) >= self.ranks && shapes.lines(self.z) >= shapes.n;
        demand(fits, "b or z is too small")?;
        demand(self.partials == 1 || shapes.n <= FEW_ROWS, "partial sums of many rows")
    }

    /// It with its contents.
    pub(crate) fn data<'a>(&self, call: &Call<'a>) -> DeltaData<'a> {
        DeltaData {
            rows: call.rows(self.rows),
            mixes: call.mixes(self.mixes),
            z: call.head(self.z),
            z_cols: call.cols(self.z),
            b: call.f32(self.b),
            ranks: self.ranks,
            partials: self.partials,
            parts: self.parts,
        }
    }
}
