//! The launch of `attention_grad_q`.
//! What it computes is said by `crate::ops::AttentionGradQ`.

use crate::ops::{AttentionGradQ, AttentionInputs};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{H, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32 }

/// dq, and the statistics of the softmax
pub(crate) const KERNEL: Kernel = kernel!("attention_grad_q" over CACHE_F32, 64, ROW, CAP, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for AttentionGradQ {
    fn launch(&self, target: &Target) -> Dispatch {
        let AttentionInputs { q, k_cache, head_dim, scale, cap, window, .. } = self.forward;
        let [_, s, kv_cols] = target.cache(k_cache);
        let (q_cols, head_dim, window) = (target.cols(q), head_dim as u32, window as u32);
        let params = Params { q_cols, kv_cols, head_dim, s, scale, cap, window };
        Dispatch::new(self, KERNEL.over(target.dtype(k_cache)), &params, [q_cols / head_dim, target.n, 1])
    }

    fn work(&self, target: &Target) -> u64 {
        4 * target.keys(self.forward.q, self.forward.k_cache)
    }

    fn case(made: &mut Made, kernel: &Kernel) -> Self {
        let forward = made.attention(kernel.dtype);
        Self {
            forward,
            dy: made.f32(&[made.n, H * forward.head_dim]),
            dq: made.f32(&[made.n, H * forward.head_dim]),
            stats: made.f32(&[made.n, 2 * H]),
        }
    }
}
