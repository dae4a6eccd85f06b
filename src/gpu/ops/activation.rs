//! The launch of `activation`.
//! What it computes is said by `crate::ops::Activation`.

use crate::activation::Activation as Function;
use crate::ops::Activation;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { f: u32, kind: u32, gated: u32 }

/// y = act(x), or act(gate) ∘ up
pub(crate) const KERNEL: Kernel = kernel!("activation", 64, ACT);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Activation {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { f: target.cols(self.y), kind: self.kind as u32, gated: self.gated.into() };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, params.f))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { x: made.f32(&[made.n, 2 * C]), y: made.f32(&[made.n, C]), kind: Function::Silu, gated: true }
    }
}
