//! The loss of logits, and its gradient by them.
//! From there on the way back is other ops'.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::dtype::Dtype;
use crate::tensor::TensorId;

/// logits[n] ← (softmax(logits[n]) − onehot(targets[n])) · loss_weight · slope, and
/// loss[n] = −ln softmax(logits[n])[targets[n]]; both 0 where there is no target. The slope is that of
/// [`SoftCap`](super::SoftCap), so that gradients are by what that read; 1 with `scale` 1 and `cap` 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// (12) u32, see [`Training`](crate::control::Training)
    pub training: TensorId,
    /// (N) u32: token ids, or [`INACTIVE`](crate::control::INACTIVE)
    pub targets: TensorId,
    /// (N, V), read and written
    pub logits: TensorId,
    /// That of the soft cap.
    pub scale: f32,
    /// That of the soft cap; 0 is none.
    pub cap: f32,
    /// (N): nats, without the weight
    pub loss: TensorId,
}

impl Operation for CrossEntropy {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.training, self.targets]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.logits, self.loss]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { training, targets, logits, loss, .. } = *self;
        shapes.activations(&[targets, logits, loss])?;
        shapes.training(training)?;
        let is_u32 = shapes.tensors.get(targets).dtype == Dtype::U32;
        demand(is_u32 && shapes.cols(targets) == 1, "targets is not (N) u32")?;
        demand(shapes.cols(loss) == 1 && shapes.cols(logits) > 0, "loss is not (N)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [logits, loss] = outputs(out);
        let targets = &call.u32(self.targets)[..call.n];
        run_version!(
            call,
            cross_entropy(
                call.training(self.training),
                targets,
                logits,
                call.cols(self.logits),
                [self.scale, self.cap],
                loss,
            )
        );
    }
}
