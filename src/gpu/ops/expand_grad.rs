//! The launch of `expand_grad`.
//! What it computes is said by `crate::ops::ExpandGrad`.

use crate::ops::ExpandGrad;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made, R};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { n: u32, c: u32, ranks: u32, rows_of_a: u32, z_cols: u32, accumulate: u32 }

/// dx = dz·A of the active adapters (+ dx)
pub(crate) const KERNEL: Kernel = kernel!("expand_grad", 64, TILE, RANK, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for ExpandGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params {
            n: target.n,
            c: target.cols(self.dx),
            ranks: self.ranks as u32,
            rows_of_a: target.lines(self.a),
            z_cols: target.cols(self.dz),
            accumulate: self.accumulate.into(),
        };
        Dispatch::new(self, KERNEL, &params, target.tiles(target.n, params.c))
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.a)
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            mixes: made.mixes(),
            dz: made.f32(&[made.n, 2 * R]),
            a: made.f32(&[2 * R, C]),
            dx: made.f32(&[made.n, C]),
            ranks: R,
            accumulate: true,
        }
    }
}
