//! The half of adapters that reads an input no op writes in whose company it could ride.
//! What it computes is said by `DownProjection`.

use super::{Call, DownProjection, Fit, Operation, Shapes, outputs};
use crate::tensor::TensorId;

/// z = γ ∘ A·x, see [`DownProjection`]
#[derive(Clone, Debug, PartialEq)]
pub struct Shrink {
    /// (N, C)
    pub x: TensorId,
    /// The rest.
    pub shrink: DownProjection,
}

impl Operation for Shrink {
    fn reads(&self) -> Vec<TensorId> {
        [self.x].into_iter().chain(self.shrink.reads()).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.shrink.z]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.activations(&[self.x])?;
        self.shrink.check(shapes, shapes.cols(self.x), 1)
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [z] = outputs(out);
        self.shrink.run(call, call.head(self.x), call.cols(self.x), z);
    }
}
