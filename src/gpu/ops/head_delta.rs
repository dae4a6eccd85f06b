//! The launch of `head_delta`.
//! What it computes is said by `crate::ops::HeadDelta`.

use crate::ops::HeadDelta;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, v: u32 }

/// logits += replaced rows of the active adapters · x
pub(crate) const KERNEL: Kernel = kernel!("head_delta", 64, LANES, REPLACED, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for HeadDelta {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { c: target.cols(self.x), v: target.cols(self.logits) };
        let kernel = KERNEL.on(target.lanes);
        Dispatch::new(self, kernel, &params, [target.fours(kernel, params.v), target.n, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            mixes: made.mixes(),
            x: made.f32(&[made.n, C]),
            replaced: made.replaced(),
            logits: made.f32(&[made.n, F]),
        }
    }
}
