//! The launch of `dropout`.
//! What it computes is said by `crate::ops::Dropout`.

use crate::ops::Dropout;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, site: u32, accumulate: u32 }

/// y = x ∘ keep / (1 − p) (+ y)
pub(crate) const KERNEL: Kernel = kernel!("dropout", 64, TRAINING, ROW, NOISE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Dropout {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { c: target.cols(self.x), site: self.site, accumulate: self.accumulate.into() };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, params.c))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            training: made.training(),
            rows: made.rows(),
            x: made.f32(&[made.n, C]),
            y: made.f32(&[made.n, C]),
            site: 5,
            accumulate: true,
        }
    }
}
