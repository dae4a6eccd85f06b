//! The way back through a linear map to its input.
//! Its weight is frozen; gradients of adapters on it are `shrink_grad` and `outer_grad`.

use super::{Call, Fit, Operation, Shapes, Slice, demand, outputs, run_version};
use crate::tensor::TensorId;
use crate::twin::linear::Columns;

/// dx[dx_first + n] = dy[n, first..first + F] · W (+ dx, when `accumulate`)
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGrad {
    /// (N, whole F)
    pub dy: TensorId,
    /// (F, C), a run of rows of the whole matrix
    pub weight: Slice,
    /// (≥ dx_first + N, C)
    pub dx: TensorId,
    /// First row of dx.
    pub dx_first: usize,
    /// Add to what `dx` holds instead of overwriting it.
    pub accumulate: bool,
}

impl Operation for LinearGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.dy, self.weight.tensor]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dx]
    }

    fn weight(&self) -> Option<TensorId> {
        Some(self.weight.tensor)
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { dy, weight, dx, dx_first, .. } = *self;
        shapes.activations(&[dy])?;
        demand(dx_first + shapes.n <= shapes.lines(dx), "dx has too few rows")?;
        demand(shapes.cols(dx) == shapes.cols(weight.tensor), "dx and weight differ in C")?;
        let end = weight.first + shapes.lines(weight.tensor);
        demand(end <= shapes.cols(dy), "weight has more rows than dy columns")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dx] = outputs(out);
        let stride = call.cols(self.dy);
        let (weight, columns) =
            (call.weight(self.weight.tensor), Columns { first: self.weight.first, stride });
        let dx = &mut dx[self.dx_first * call.cols(self.dx)..];
        let dy = call.head(self.dy);
        run_version!(call, linear_grad(dy, weight, columns, self.accumulate, dx));
    }
}
