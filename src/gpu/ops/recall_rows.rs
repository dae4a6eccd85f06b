//! The launch of `recall_rows`.
//! What it computes is said by `crate::ops::RecallRows`.

use crate::ops::RecallRows;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made, S};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32 }

/// x[n] = y[pos[n]]
pub(crate) const KERNEL: Kernel = kernel!("recall_rows", 64, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for RecallRows {
    fn launch(&self, target: &Target) -> Dispatch {
        let c = target.cols(self.x);
        Dispatch::new(self, KERNEL, &Params { c }, target.threads(KERNEL, c))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { rows: made.rows(), y: made.f32(&[S, C]), x: made.f32(&[made.n, C]) }
    }
}
