//! The launch of `adam_w`.
//! What it computes is said by `crate::ops::AdamW`.

use crate::ops::AdamW;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { len: u32, g_first: u32, param_first: u32, n_sums: u32 }

/// A step of AdamW
pub const KERNEL: Kernel = kernel!("adam_w", 256, TRAINING, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for AdamW {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = Params {
            len: self.len as u32,
            g_first: self.g_first as u32,
            param_first: self.param_first as u32,
            n_sums: target.len(self.sums),
        };
        Dispatch::new(self, KERNEL, &params, [params.len.div_ceil(4 * KERNEL.workgroup_size), 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            training: made.training(),
            sums: made.squares(&[3]),
            g: made.f32(&[F, C]),
            m: made.f32(&[F, C]),
            v: made.squares(&[F, C]),
            g_first: 7,
            param: made.f32(&[made.n, C]),
            param_first: 3,
            len: 1000,
        }
    }
}
