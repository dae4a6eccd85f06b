//! Linear maps, with what adapters add to them.
//! The way back to their input is `linear_grad`.
//! On a GPU it is launched by `src/gpu/ops/linear.rs`.

use super::{Call, Delta, Fit, Operation, Shapes, Slice, demand, outputs};
use crate::fast;
use crate::tensor::TensorId;
use crate::twin;
use crate::twin::linear::Columns;

/// y[:, first..first + F] = delta(x · Wᵀ) (+ bias) (+ y, when `accumulate`)
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// (N, C)
    pub x: TensorId,
    /// (F, C), a run of rows of the whole matrix
    pub weight: Slice,
    /// (whole F)
    pub bias: Option<TensorId>,
    /// (N, whole F)
    pub y: TensorId,
    /// Add to what `y` holds (the residual) instead of overwriting it.
    pub accumulate: bool,
    /// What adapters add.
    pub delta: Option<Delta>,
}

impl Operation for Linear {
    fn reads(&self) -> Vec<TensorId> {
        let delta = self.delta.iter().flat_map(Delta::reads);
        [self.x, self.weight.tensor].into_iter().chain(self.bias).chain(delta).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn weight(&self) -> Option<TensorId> {
        Some(self.weight.tensor)
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let (weight, f) = (self.weight, shapes.cols(self.y));
        shapes.activations(&[self.x, self.y])?;
        demand(shapes.cols(self.x) == shapes.cols(weight.tensor), "x and weight differ in C")?;
        self.delta.map_or(Ok(()), |delta| delta.check(shapes, f))?;
        demand(weight.first + shapes.lines(weight.tensor) <= f, "weight has more rows than y columns")?;
        demand(self.bias.is_none_or(|b| shapes.lines(b) == f), "bias and y differ in F")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        let columns = Columns { first: self.weight.first, stride: call.cols(self.y) };
        let bias = self.bias.map(|b| call.f32(b));
        let delta = self.delta.map(|delta| delta.data(call));
        let weight = call.weight(self.weight.tensor);
        let x = call.head(self.x);
        if call.is_fast() {
            fast::linear(call.pool, x, weight, bias, columns, self.accumulate, delta, call.rounds(), y);
        } else {
            twin::linear::linear(x, weight, bias, columns, self.accumulate, delta, y);
        }
    }
}
