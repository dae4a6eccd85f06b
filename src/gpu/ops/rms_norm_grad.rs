//! The launch of `rms_norm_grad`.
//! What it computes is said by `crate::ops::RmsNormGrad`.

use crate::ops::RmsNormGrad;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, eps: f32 }

/// dx += dy · d rms_norm / dx
pub(crate) const KERNEL: Kernel = kernel!("rms_norm_grad", 64, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for RmsNormGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { c: target.cols(self.x), eps: self.eps };
        Dispatch::new(self, KERNEL, &params, [target.n, 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            x: made.f32(&[made.n, C]),
            weight: made.f32(&[C]),
            dy: made.f32(&[made.n, C]),
            dx: made.f32(&[made.n, C]),
            eps: 0.125,
        }
    }
}
