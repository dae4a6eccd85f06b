//! A checkpoint of activations.
//! `recall_rows` brings them back.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y[pos[n]] = x[n] for active rows: a checkpoint of activations, by position.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepRows {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (N, C)
    pub x: TensorId,
    /// (S, C)
    pub y: TensorId,
}

impl Operation for KeepRows {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.x]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        shapes.activations(&[self.x])?;
        demand(shapes.cols(self.x) == shapes.cols(self.y), "x and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        twin::keep_rows::keep_rows(call.rows(self.rows), call.head(self.x), call.cols(self.x), y);
    }
}
