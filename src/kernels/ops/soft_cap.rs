//! The scale and the soft cap of logits.
//! Attention caps its scores itself; the way back is part of `cross_entropy`.

use super::{Call, Fit, Operation, Shapes, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// x ← cap · tanh(scale · x / cap), or scale · x where `cap` is 0
#[derive(Clone, Debug, PartialEq)]
pub struct SoftCap {
    /// (N, V), read and written
    pub x: TensorId,
    /// Factor on x.
    pub scale: f32,
    /// Bound of what comes out; 0 is none.
    pub cap: f32,
}

impl Operation for SoftCap {
    fn reads(&self) -> Vec<TensorId> {
        Vec::new()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.activations(&[self.x])
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [x] = outputs(out);
        let n = call.n * call.cols(self.x);
        twin::soft_cap::soft_cap(self.scale, self.cap, &mut x[..n]);
    }
}
