//! The function between an MLP's linear maps.
//! Which ones there are is said by `crate::activation`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::activation::Activation as Function;
use crate::tensor::TensorId;

/// y = act(x), or act(gate) ∘ up where `gated` and x = [gate | up]
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// (N, F), or (N, 2F) when gated
    pub x: TensorId,
    /// (N, F)
    pub y: TensorId,
    /// Which function.
    pub kind: Function,
    /// Whether x carries a gate.
    pub gated: bool,
}

impl Operation for Activation {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let f = shapes.cols(self.y);
        shapes.activations(&[self.x, self.y])?;
        demand(shapes.cols(self.x) == if self.gated { 2 * f } else { f }, "x and y differ in F")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        run_version!(call, activation(call.head(self.x), self.kind, self.gated, call.cols(self.y), y));
    }
}
