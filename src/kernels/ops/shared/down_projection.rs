//! The half of adapters that reads a linear map's input; it also rides in ops that write such an input.
//! The half that adds to the map's output is in `delta`.

use super::{Call, Fit, Shapes, demand, run_version};
use crate::tensor::TensorId;
use crate::twin::shrink;

/// The half of an adapter that reads a linear map's input:
/// z[n, (p·partials + k)·R + r] = γ[r] · A[p·R + r] · x[n], the sum over the k-th of `partials`
/// equal pieces of x, for the ranks r that row n's mix has switched on. Others are left as they
/// were, and no one reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownProjection {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
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

impl DownProjection {
    /// Tensors read, in the order of the shader's bindings.
    pub(crate) fn reads(&self) -> [TensorId; 3] {
        [self.rows, self.mixes, self.a]
    }

    /// Whether it fits an input of `c` columns that is summed in so many pieces.
    pub(crate) fn check(&self, shapes: &Shapes, c: usize, partials: usize) -> Fit {
        let rows_of_a = shapes.lines(self.a);
        shapes.rows(self.rows)?;
        shapes.mixes(self.mixes)?;
        demand(self.partials == partials, "another number of partial sums")?;
        demand(shapes.cols(self.a) == c, "x and a differ in C")?;
        let fits = rows_of_a.is_multiple_of(self.ranks) && rows_of_a * partials <= shapes.cols(self.z);
        demand(fits, "a and z differ in ranks")?;
        demand(shapes.lines(self.z) >= shapes.n, "z has too few rows")
    }

    /// z of x (N, C).
    pub(crate) fn run(&self, call: &Call, x: &[f32], c: usize, z: &mut [f32]) {
        let data = shrink::ShrinkData {
            rows: call.rows(self.rows),
            mixes: call.mixes(self.mixes),
            a: call.f32(self.a),
            ranks: self.ranks,
            z_cols: call.cols(self.z),
            partials: self.partials,
        };
        run_version!(call, shrink(x, data, c, z));
    }

    /// The one that rides in an op with the outputs y (N, C) and, if there is one, z.
    pub(crate) fn ride(this: Option<Self>, call: &Call, c: usize, outputs: &mut [Vec<u32>]) {
        if let (Some(this), [y, z]) = (this, outputs) {
            let x = bytemuck::cast_slice(&y[..call.n * c]);
            this.run(call, x, c, bytemuck::cast_slice_mut(z));
        }
    }
}
