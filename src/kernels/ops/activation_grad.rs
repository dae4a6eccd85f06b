//! The way back through the function between an MLP's linear maps.
//! Which ones there are is said by `crate::activation`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::activation::Activation as Function;
use crate::tensor::TensorId;

/// dx = dy ∘ act'(x), or [dy ∘ up ∘ act'(gate) | dy ∘ act(gate)] where `gated` and
/// x = [gate | up]
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationGrad {
    /// (N, F), or (N, 2F) when gated
    pub x: TensorId,
    /// (N, F)
    pub dy: TensorId,
    /// As x.
    pub dx: TensorId,
    /// Which function.
    pub kind: Function,
    /// Whether x holds gate and up side by side.
    pub gated: bool,
}

impl Operation for ActivationGrad {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.x, self.dy]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.dx]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let f = shapes.cols(self.dy);
        let width = if self.gated { 2 * f } else { f };
        shapes.activations(&[self.x, self.dy, self.dx])?;
        let fits = shapes.cols(self.x) == width && shapes.cols(self.dx) == width;
        demand(fits, "x, dy and dx differ in F")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [dx] = outputs(out);
        run_version!(
            call,
            activation_grad(
                call.head(self.x),
                call.head(self.dy),
                self.kind,
                self.gated,
                call.cols(self.dy),
                dx
            )
        );
    }
}
