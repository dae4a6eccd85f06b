//! The squared norm of one gradient.
//! What follows from all of them is `adam_w`'s.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// sums[index] = Σ g², for the norm of all gradients
#[derive(Clone, Debug, PartialEq)]
pub struct SquareSum {
    /// Any shape.
    pub g: TensorId,
    /// (gradients)
    pub sums: TensorId,
    /// Which one this is.
    pub index: usize,
}

impl Operation for SquareSum {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.g]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.sums]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        demand(self.index < shapes.lines(self.sums), "sums has too few elements")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [sums] = outputs(out);
        twin::square_sum::square_sum(call.f32(self.g), &mut sums[self.index]);
    }
}
