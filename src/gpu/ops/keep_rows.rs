//! The launch of `keep_rows`.
//! What it computes is said by `crate::ops::KeepRows`.

use crate::ops::KeepRows;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made, S};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32 }

/// y[pos[n]] = x[n]
pub(crate) const KERNEL: Kernel = kernel!("keep_rows", 64, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for KeepRows {
    fn launch(&self, target: &Target) -> Dispatch {
        let c = target.cols(self.x);
        Dispatch::new(self, KERNEL, &Params { c }, target.threads(KERNEL, c))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { rows: made.rows(), x: made.f32(&[made.n, C]), y: made.f32(&[S, C]) }
    }
}
