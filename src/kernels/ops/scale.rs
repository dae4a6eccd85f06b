//! A multiple of rows, set or added.
//! What scales rows by an adapter's gains is `affine`.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y = scale · x (+ y)
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// (N, C)
    pub x: TensorId,
    /// (N, C)
    pub y: TensorId,
    /// Factor on x.
    pub scale: f32,
    /// Whether y is added to: read and written.
    pub accumulate: bool,
}

impl Operation for Scale {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.activations(&[self.x, self.y])?;
        demand(shapes.cols(self.x) == shapes.cols(self.y), "x and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        twin::scale::scale(call.head(self.x), self.scale, self.accumulate, y);
    }
}
