//! The launch of `affine`.
//! What it computes is said by `crate::ops::Affine`.

use crate::ops::Affine;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{ADAPTERS, C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, adapters: u32 }

/// x = x · (1 + gains) + shifts of the active adapters
pub(crate) const KERNEL: Kernel = kernel!("affine", 64, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Affine {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { c: target.cols(self.x), adapters: target.lines(self.gains) / 2 };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, params.c))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            mixes: made.mixes(),
            gains: made.f32(&[2 * ADAPTERS, C]),
            x: made.f32(&[made.n, C]),
        }
    }
}
