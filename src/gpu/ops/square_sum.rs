//! The launch of `square_sum`.
//! What it computes is said by `crate::ops::SquareSum`.

use crate::ops::SquareSum;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { len: u32, index: u32 }

/// sums[index] = Σ g²
pub(crate) const KERNEL: Kernel = kernel!("square_sum", 256, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for SquareSum {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params { len: target.len(self.g), index: self.index as u32 };
        Dispatch::new(self, KERNEL, &params, [1, 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { g: made.f32(&[F, C]), sums: made.squares(&[3]), index: 1 }
    }
}
