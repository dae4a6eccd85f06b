//! Dropout, on the way forward of a training and on the way back alike.
//! Its noise is a function of what the host has written, not of a state.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y = x ∘ keep / (1 − p) (+ y, when `accumulate`), where keep is 0 with probability p, a
/// function of seed, site, position and column alone: it is its own gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// (12) u32, see [`Training`](crate::control::Training)
    pub training: TensorId,
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, C)
    pub x: TensorId,
    /// (N, C)
    pub y: TensorId,
    /// Names the noise among those of one step.
    pub site: u32,
    /// Add to what `y` holds instead of overwriting it.
    pub accumulate: bool,
}

impl Operation for Dropout {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.training, self.rows, self.x]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        shapes.activations(&[self.x, self.y])?;
        shapes.training(self.training)?;
        demand(shapes.cols(self.x) == shapes.cols(self.y), "x and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        let (training, rows) = (call.training(self.training), call.rows(self.rows));
        let (x, c) = (call.head(self.x), call.cols(self.x));
        twin::dropout::dropout(training, rows, x, c, self.site, self.accumulate, y);
    }
}
