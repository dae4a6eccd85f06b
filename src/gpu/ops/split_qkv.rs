//! The launch of `split_qkv`.
//! What it computes is said by `crate::ops::SplitQkv`.

use crate::ops::SplitQkv;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{D, H, K, Made, S};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32 }

/// q rotated; k rotated and v into the cache
pub const KERNEL: Kernel = kernel!("split_qkv", 64, HEADS, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for SplitQkv {
    fn launch(&self, target: &Target) -> Dispatch {
        let [_, s, kv_cols] = target.cache(self.k_cache);
        let rotated = target.cols(self.rope);
        let (head_dim, grouped) = (self.head_dim as u32, u32::from(self.grouped));
        let params = Params { q_cols: target.cols(self.q), kv_cols, head_dim, s, rotated, grouped };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, target.cols(self.qkv) / 2))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            qkv: made.f32(&[made.n, (H + 2 * K) * D]),
            rope: made.f32(&[S, D - 8]),
            q: made.f32(&[made.n, H * D]),
            k_cache: made.cache(),
            v_cache: made.cache(),
            head_dim: D,
            grouped: false,
        }
    }
}
