//! The launch of `shrink_grad`.
//! What it computes is said by `crate::ops::ShrinkGrad`.

use crate::ops::{ShrinkGrad, part_columns};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made, R};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { n: u32, f: u32, ranks: u32, z_cols: u32, part_1: u32, part_2: u32 }

/// dz = γ ∘ dy·Bᵀ of the active adapters
pub(crate) const KERNEL: Kernel = kernel!("shrink_grad", 64, TILE, RANK, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for ShrinkGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let (f, [part_1, part_2]) = (target.cols(self.dy), self.parts.map(|first| first as u32));
        let (n, ranks) = (target.n, self.ranks as u32);
        let params = Params { n, f, ranks, z_cols: target.cols(self.dz), part_1, part_2 };
        let [per_part, rows, _] = target.tiles(n, ranks);
        let n_parts = part_columns(self.parts, f as usize).len() as u32;
        Dispatch::new(self, KERNEL, &params, [n_parts * per_part, rows, 1])
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.b)
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            mixes: made.mixes(),
            dy: made.f32(&[made.n, F]),
            b: made.f32(&[R, F]),
            dz: made.f32(&[made.n, 2 * R]),
            ranks: R,
            parts: [24, usize::MAX],
        }
    }
}
