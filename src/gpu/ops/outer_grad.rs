//! The launch of `outer_grad`.
//! What it computes is said by `crate::ops::OuterGrad`.

use crate::ops::OuterGrad;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
   n: u32, u_first: u32, u_cols: u32, v_cols: u32, g_first: u32, count: u32, first: u32, end: u32,
}

/// g += uᵀ·v over the active rows
pub const KERNEL: Kernel = kernel!("outer_grad", 64, TILE, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for OuterGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let [first, end] = self.cols.map(|col| col as u32);
        let params = Params {
            n: target.n,
            u_first: self.u_first as u32,
            u_cols: target.cols(self.u),
            v_cols: target.cols(self.v),
            g_first: self.g_first as u32,
            count: self.count as u32,
            first,
            end,
        };
        Dispatch::new(self, KERNEL, &params, target.tiles(params.count, end - first))
    }

    fn work(&self, target: &Target) -> u64 {
        let [first, end] = self.cols;
        u64::from(target.n) * (self.count * (end - first)) as u64
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            u: made.f32(&[made.n, F]),
            u_first: 3,
            v: made.f32(&[made.n, C]),
            g: made.f32(&[F, C]),
            g_first: 1,
            count: 35,
            cols: [4, 100],
        }
    }
}
