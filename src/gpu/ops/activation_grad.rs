//! The launch of `activation_grad`.
//! What it computes is said by `crate::ops::ActivationGrad`.

use crate::activation::Activation as Function;
use crate::ops::ActivationGrad;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { f: u32, kind: u32, gated: u32 }

/// dx = dy · d activation / dx
pub(crate) const KERNEL: Kernel = kernel!("activation_grad", 64, ACT);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for ActivationGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { f: target.cols(self.dy), kind: self.kind as u32, gated: self.gated.into() };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, params.f))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            x: made.f32(&[made.n, 2 * C]),
            dy: made.f32(&[made.n, C]),
            dx: made.f32(&[made.n, 2 * C]),
            kind: Function::Silu,
            gated: true,
        }
    }
}
