//! The launch of `soft_cap`.
//! What it computes is said by `crate::ops::SoftCap`.

use crate::ops::SoftCap;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { v: u32, scale: f32, cap: f32 }

/// x = cap · tanh(scale · x / cap)
pub(crate) const KERNEL: Kernel = kernel!("soft_cap", 256, CAP);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for SoftCap {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { v: target.cols(self.x), scale: self.scale, cap: self.cap };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, params.v))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { x: made.f32(&[made.n, F]), scale: 2.5, cap: 0.75 }
    }
}
