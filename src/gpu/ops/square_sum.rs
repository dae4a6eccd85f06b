//! The launch of `square_sum`.
//! What it computes is said by `crate::ops::SquareSum`.

use crate::ops::SquareSum;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { len: u32, part: u32, first: u32 }

/// sums[first + i] = Σ g² over the i-th part
pub(crate) const KERNEL: Kernel = kernel!("square_sum", 256, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for SquareSum {
    fn launch(&self, target: &Target) -> Dispatch {
        let (len, parts) = (target.len(self.g), Self::PARTS as u32);
        let params = Params { len, part: len.div_ceil(parts), first: self.first as u32 };
        Dispatch::new(self, KERNEL, &params, [parts, 1, 1])
    }

    fn work(&self, target: &Target) -> u64 {
        u64::from(target.len(self.g))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self { g: made.f32(&[F, C + 3]), sums: made.squares(&[Self::PARTS + 3]), first: 1 }
    }
}
