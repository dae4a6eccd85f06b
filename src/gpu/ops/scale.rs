//! The launch of `scale`.
//! What it computes is said by `crate::ops::Scale`.

use crate::ops::Scale;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, scale: f32, accumulate: u32 }

/// y = scale · x (+ y)
pub(crate) const KERNEL: Kernel = kernel!("scale", 64);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Scale {
    fn launch(&self, target: &Target) -> Dispatch {
        let c = target.cols(self.x);
        let params = Params { c, scale: self.scale, accumulate: self.accumulate.into() };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, c))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { x: made.f32(&[made.n, C]), y: made.f32(&[made.n, C]), scale: 0.75, accumulate: true }
    }
}
