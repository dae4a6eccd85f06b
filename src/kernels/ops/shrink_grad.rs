//! The way back through the half of adapters that adds to an output.
//! From there to the input leads `expand_grad`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, part_columns, run_version};
use crate::tensor::TensorId;

/// dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f] over the outputs f of part p, for the ranks r
/// that row n's mix has switched on; others are left as they were. Gains and shifts of
/// adapters are not trained through.
#[derive(Clone, Debug, PartialEq)]
pub struct ShrinkGrad {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (N, F)
    pub dy: TensorId,
    /// (≥ R, F)
    pub b: TensorId,
    /// (N, ≥ parts·R)
    pub dz: TensorId,
    /// R
    pub ranks: usize,
    /// First output of the second and of the third part, see [`Delta`](super::Delta)
    pub parts: [usize; 2],
}

impl Operation for ShrinkGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.mixes, self.dy, self.b]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dz]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, mixes, dy, b, dz, ranks, parts } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[dy, dz])?;
        shapes.mixes(mixes)?;
        let f = shapes.cols(dy);
        demand(shapes.cols(b) == f, "b and dy differ in F")?;
        demand(shapes.lines(b) >= ranks, "b has too few ranks")?;
        demand(part_columns(parts, f).len() * ranks <= shapes.cols(dz), "dz has too few ranks")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dz] = outputs(out);
        let (rows, mixes) = (call.rows(self.rows), call.mixes(self.mixes));
        let (dy, b, f) = (call.head(self.dy), call.f32(self.b), call.cols(self.dy));
        run_version!(
            call,
            shrink_grad(rows, mixes, dy, b, f, self.ranks, self.parts, call.cols(self.dz), dz)
        );
    }
}
