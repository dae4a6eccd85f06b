//! The loss of logits, and its gradient by them.
//! From there on the way back is other ops'.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::dtype::Dtype;
use crate::tensor::TensorId;

/// loss[pos[n]] = −ln softmax(logits[n])[token], of the token and the weight in targets[pos[n]]; 0 where it is
/// [`INACTIVE`](crate::control::INACTIVE). With `gradient` logits[n] ← (softmax(logits[n]) − onehot(token)) · weight ·
/// loss_weight · slope, 0 where there is no token, or the row takes no part. The slope is that of
/// [`SoftCap`](super::SoftCap), so that gradients are by what that read; 1 with `scale` 1 and `cap` 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// (12) u32, see [`Training`](crate::control::Training)
    pub training: TensorId,
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (S, 2) u32, see [`Target`](crate::control::Target)
    pub targets: TensorId,
    /// (N, V), read and, with `gradient`, written
    pub logits: TensorId,
    /// (S): nats, without the weight
    pub loss: TensorId,
    /// That of the soft cap.
    pub scale: f32,
    /// That of the soft cap; 0 is none.
    pub cap: f32,
    /// Whether logits become the gradient by them.
    pub gradient: bool,
}

impl Operation for CrossEntropy {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.training, self.rows, self.targets]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.logits, self.loss]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { training, rows, targets, logits, loss, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[logits])?;
        shapes.training(training)?;
        let is_u32 = shapes.tensors.get(targets).dtype == Dtype::U32;
        demand(is_u32 && shapes.cols(targets) == 2, "targets is not (S, 2) u32")?;
        demand(shapes.cols(loss) == 1, "loss is not (S)")?;
        demand(shapes.cols(logits) > 0, "no logits")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [logits, loss] = outputs(out);
        run_version!(
            call,
            cross_entropy(
                call.training(self.training),
                call.rows(self.rows),
                bytemuck::cast_slice(call.u32(self.targets)),
                logits,
                call.cols(self.logits),
                [self.scale, self.cap],
                self.gradient,
                loss,
            )
        );
    }
}
