//! The launch of `head_norm_grad`.
//! What it computes is said by `crate::ops::HeadNormGrad`.

use crate::ops::HeadNormGrad;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{D, H, K, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { q_heads: u32, k_heads: u32, q_dim: u32, k_dim: u32, eps: f32 }

/// dx = dx · d head_norm / dqkv
pub(crate) const KERNEL: Kernel = kernel!("head_norm_grad", 64, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for HeadNormGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let (q_heads, [q_dim, k_dim]) =
            (self.q_heads as u32, self.weights.map(|weight| target.lines(weight)));
        let k_heads = (target.cols(self.qkv) - q_heads * q_dim) / k_dim / 2;
        let params = Params { q_heads, k_heads, q_dim, k_dim, eps: self.eps };
        Dispatch::new(self, KERNEL, &params, [q_heads + k_heads, target.n, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let cols = (H + 2 * K) * D;
        Self {
            qkv: made.f32(&[made.n, cols]),
            weights: [made.f32(&[D]), made.f32(&[D])],
            dx: made.f32(&[made.n, cols]),
            q_heads: H,
            eps: 0.125,
        }
    }
}
