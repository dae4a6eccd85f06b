//! The way back through RMSNorm.
//! Its weight is frozen.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// dx += dy · d rms_norm(x) / dx; the weight is frozen
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNormGrad {
    /// (N, C)
    pub x: TensorId,
    /// (C)
    pub weight: TensorId,
    /// (N, C)
    pub dy: TensorId,
    /// (N, C), read and written
    pub dx: TensorId,
    /// Added to the mean square.
    pub eps: f32,
}

impl Operation for RmsNormGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.x, self.weight, self.dy]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dx]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let (c, rows) = (shapes.lines(self.weight), [self.x, self.dy, self.dx]);
        shapes.activations(&rows)?;
        demand(rows.iter().all(|&t| shapes.cols(t) == c), "x, weight, dy and dx differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dx] = outputs(out);
        let (x, weight, dy) = (call.head(self.x), call.f32(self.weight), call.head(self.dy));
        twin::rms_norm_grad::rms_norm_grad(x, weight, dy, self.eps, dx);
    }
}
