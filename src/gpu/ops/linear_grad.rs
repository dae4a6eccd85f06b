//! The launch of `linear_grad`.
//! What it computes is said by `crate::ops::LinearGrad`.

use crate::ops::{LinearGrad, Slice};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made, columns};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32 }

/// dx = dy · W (+ dx)
pub(crate) const KERNEL: Kernel = kernel!("linear_grad" over WEIGHT_F32, 64, TILE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for LinearGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let weight = self.weight.tensor;
        let params = Params {
            n: target.n,
            c: target.cols(self.dx),
            f: target.lines(weight),
            first: self.weight.first as u32,
            stride: target.cols(self.dy),
            dx_first: self.dx_first as u32,
            accumulate: self.accumulate.into(),
        };
        Dispatch::new(self, KERNEL.over(target.dtype(weight)), &params, target.tiles(target.n, params.c))
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.weight.tensor)
    }

    fn case(made: &mut Made, &Kernel { dtype, .. }: &Kernel) -> Self {
        let cols = columns(dtype);
        Self {
            dy: made.f32(&[made.n, F]),
            weight: Slice { tensor: made.weight(dtype, F - 3, cols), first: 3 },
            dx: made.f32(&[made.n + 1, cols]),
            dx_first: 1,
            accumulate: true,
        }
    }
}
