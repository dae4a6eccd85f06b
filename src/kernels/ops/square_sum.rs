//! The squared norm of gradients, in parts.
//! What follows from all of them is `adam_w`'s.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// sums[first + i] = Σ g² over the i-th of [`PARTS`](Self::PARTS) equal parts of g, the last of which may be short,
/// or none; for the norm of all gradients
#[derive(Clone, Debug, PartialEq)]
pub struct SquareSum {
    /// Any shape.
    pub g: TensorId,
    /// (≥ first + PARTS)
    pub sums: TensorId,
    /// Where these begin.
    pub first: usize,
}

impl SquareSum {
    /// Sums of one g: as many workgroups compute them, in an order that is always the same.
    pub const PARTS: usize = 128;
}

impl Operation for SquareSum {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.g]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.sums]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        demand(self.first + Self::PARTS <= shapes.lines(self.sums), "sums has too few elements")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [sums] = outputs(out);
        twin::square_sum::square_sum(call.f32(self.g), &mut sums[self.first..][..Self::PARTS]);
    }
}
