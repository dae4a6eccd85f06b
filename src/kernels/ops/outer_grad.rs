//! Gradients of adapters' matrices.
//! Those by activations are `shrink_grad` and `expand_grad`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::tensor::TensorId;
use crate::twin::linear::Columns;

/// g[g_first + r, j] += Σ u[n, u_first + r]·v[n, j] over the active rows n, for r < `count`
/// and j in `cols`.
///
/// With u = dz and v = x it is the gradient of A, with u = z and v = dy that of B. γ is in z
/// and in dz, so both are exact. Every active row's mix must have these ranks switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct OuterGrad {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, ≥ u_first + count)
    pub u: TensorId,
    /// First column of u.
    pub u_first: usize,
    /// (N, V)
    pub v: TensorId,
    /// (≥ g_first + count, V)
    pub g: TensorId,
    /// First row of g.
    pub g_first: usize,
    /// Rows of g.
    pub count: usize,
    /// First and end of the columns of v and g.
    pub cols: [usize; 2],
}

impl Operation for OuterGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.u, self.v]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.g]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, u, u_first, v, g, g_first, count, cols: [first, end] } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[u, v])?;
        demand(u_first + count <= shapes.cols(u), "u has too few columns")?;
        demand(g_first + count <= shapes.lines(g), "g has too few rows")?;
        demand(shapes.cols(g) == shapes.cols(v), "g and v differ in columns")?;
        demand(first < end && end <= shapes.cols(v), "columns outside v")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [g] = outputs(out);
        let [first, end] = self.cols;
        let u = (call.head(self.u), Columns { first: self.u_first, stride: call.cols(self.u) });
        let v = (call.head(self.v), Columns { first, stride: call.cols(self.v) });
        let g = &mut g[self.g_first * v.1.stride..];
        run_version!(call, outer_grad(call.rows(self.rows), u, v, self.count, end - first, g));
    }
}
