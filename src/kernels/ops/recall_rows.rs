//! Activations out of a checkpoint.
//! `keep_rows` has put them there.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// x[n] = y[pos[n]] for active rows: what [`KeepRows`](super::KeepRows) kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RecallRows {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (S, C)
    pub y: TensorId,
    /// (N, C)
    pub x: TensorId,
}

impl Operation for RecallRows {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.y]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        shapes.activations(&[self.x])?;
        demand(shapes.cols(self.x) == shapes.cols(self.y), "x and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [x] = outputs(out);
        twin::recall_rows::recall_rows(call.rows(self.rows), call.f32(self.y), call.cols(self.x), x);
    }
}
