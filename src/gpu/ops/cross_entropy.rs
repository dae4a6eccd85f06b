//! The launch of `cross_entropy`.
//! What it computes is said by `crate::ops::CrossEntropy`.

use crate::ops::CrossEntropy;
use crate::plan::{INACTIVE, Target as Wanted};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made, S};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { v: u32, scale: f32, cap: f32, gradient: u32 }

/// The loss, and its gradient by the logits
pub(crate) const KERNEL: Kernel = kernel!("cross_entropy", 256, TRAINING, ROW, CAP, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for CrossEntropy {
    fn launch(&self, target: &Target) -> Dispatch {
        let &Self { logits, scale, cap, gradient, .. } = self;
        let params = Params { v: target.cols(logits), scale, cap, gradient: gradient.into() };
        Dispatch::new(self, KERNEL, &params, [target.n, 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let token = |i: u32| if i % 5 == 2 { INACTIVE } else { 7 * i % F as u32 };
        let target = |i: u32| Wanted { token: token(i), weight: 0.5 + (i % 3) as f32 };
        let targets: Vec<Wanted> = (0..S as u32).map(target).collect();
        Self {
            training: made.training(),
            rows: made.rows(),
            targets: made.u32(&[S, 2], bytemuck::cast_slice(&targets)),
            logits: made.f32(&[made.n, F]),
            loss: made.f32(&[S]),
            scale: 0.5,
            cap: 1.25,
            gradient: true,
        }
    }
}
