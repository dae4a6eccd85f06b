//! The launch of `cross_entropy`.
//! What it computes is said by `crate::ops::CrossEntropy`.

use crate::ops::CrossEntropy;
use crate::plan::INACTIVE;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { v: u32, scale: f32, cap: f32 }

/// The loss, and its gradient by the logits
pub(crate) const KERNEL: Kernel = kernel!("cross_entropy", 256, TRAINING, ROW, CAP, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for CrossEntropy {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { v: target.cols(self.logits), scale: self.scale, cap: self.cap };
        Dispatch::new(self, KERNEL, &params, [target.n, 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let target = |i: u32| if i == 2 { INACTIVE } else { 7 * i % F as u32 };
        let targets: Vec<u32> = (0..made.n as u32).map(target).collect();
        Self {
            training: made.training(),
            targets: made.u32(&[made.n], &targets),
            logits: made.f32(&[made.n, F]),
            scale: 0.5,
            cap: 1.25,
            loss: made.f32(&[made.n]),
        }
    }
}
