//! The launch of `shrink`.
//! What it computes is said by `crate::ops::Shrink`.

use crate::ops::Shrink;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, ranks: u32, rows_of_a: u32, z_cols: u32 }

/// z = γ ∘ A·x of the active adapters
pub(crate) const KERNEL: Kernel = kernel!("shrink", 64, LANES, RANKS, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Shrink {
    fn launch(&self, target: &Target) -> Dispatch {
        let shrink = &self.shrink;
        let (rows_of_a, z_cols) = (target.lines(shrink.a), target.cols(shrink.z));
        let params = Params { c: target.cols(self.x), ranks: shrink.ranks as u32, rows_of_a, z_cols };
        let kernel = KERNEL.on(target.lanes);
        Dispatch::new(self, kernel, &params, [target.fours(kernel, rows_of_a), target.n, 1])
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.shrink.a)
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let rows = made.rows();
        Self { x: made.f32(&[made.n, C]), shrink: made.shrink(rows, C, 2, 1) }
    }
}
