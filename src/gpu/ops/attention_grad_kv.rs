//! The launch of `attention_grad_kv`.
//! What it computes is said by `crate::ops::AttentionGradKv`.

use crate::ops::{AttentionGradKv, AttentionInputs};
use crate::plan::Dtype;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{H, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { n: u32, q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32 }

/// dK and dV of the visible positions
pub(crate) const KERNEL: Kernel = kernel!("attention_grad_kv" over CACHE_F32, 64, ROW, CAP);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

/// Positions that a workgroup of `shaders/attention_grad_kv.wgsl` owns.
const KEYS: u32 = 16;

impl Launch for AttentionGradKv {
    fn launch(&self, target: &Target) -> Dispatch {
        let AttentionInputs { q, head_dim, scale, cap, window, .. } = self.forward;
        let [slots, s, kv_cols] = target.cache(self.dk_cache);
        let (q_cols, head_dim, window) = (target.cols(q), head_dim as u32, window as u32);
        let params = Params { n: target.n, q_cols, kv_cols, head_dim, s, scale, cap, window };
        Dispatch::new(
            self,
            KERNEL.over(target.dtype(self.forward.k_cache)),
            &params,
            [s.div_ceil(KEYS), kv_cols / head_dim, slots],
        )
    }

    fn work(&self, target: &Target) -> u64 {
        4 * target.keys(self.forward.q, self.forward.k_cache)
    }

    fn case(made: &mut Made, kernel: &Kernel) -> Self {
        let forward = made.attention(kernel.dtype);
        Self {
            forward,
            dy: made.f32(&[made.n, H * forward.head_dim]),
            stats: made.f32(&[made.n, 2 * H]),
            dk_cache: made.cache(Dtype::F32, forward.head_dim),
            dv_cache: made.cache(Dtype::F32, forward.head_dim),
        }
    }
}
