//! The way back through the half of adapters that reads an input.
//! The base's is `linear_grad`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::tensor::TensorId;

/// dx[n] = Σ dz[n, r]·a[r] (+ dx, when `accumulate`), over the ranks of all parts that row
/// n's mix has switched on
#[derive(Clone, Debug, PartialEq)]
pub struct ExpandGrad {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (N, ≥ parts·R)
    pub dz: TensorId,
    /// (parts·R, C)
    pub a: TensorId,
    /// (N, C)
    pub dx: TensorId,
    /// R
    pub ranks: usize,
    /// Add to what `dx` holds instead of overwriting it.
    pub accumulate: bool,
}

impl Operation for ExpandGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.mixes, self.dz, self.a]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dx]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, mixes, dz, a, dx, ranks, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[dz, dx])?;
        shapes.mixes(mixes)?;
        demand(shapes.cols(dx) == shapes.cols(a), "dx and a differ in C")?;
        let rows_of_a = shapes.lines(a);
        let fits = rows_of_a <= shapes.cols(dz) && rows_of_a.is_multiple_of(ranks);
        demand(fits, "a and dz differ in ranks")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dx] = outputs(out);
        let (rows, mixes) = (call.rows(self.rows), call.mixes(self.mixes));
        let (dz, a) = (call.head(self.dz), call.f32(self.a));
        let (c, z_cols) = (call.cols(self.dx), call.cols(self.dz));
        run_version!(call, expand_grad(rows, mixes, dz, a, c, self.ranks, z_cols, self.accumulate, dx));
    }
}
