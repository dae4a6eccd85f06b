//! The launch of `split_qkv_grad`.
//! What it computes is said by `crate::ops::SplitQkvGrad`.

use crate::ops::{Growth, SplitQkvGrad};
use crate::plan::Dtype;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{D, H, K, Made, S};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32, neighbours: u32, every: u32, beta: f32
}

/// dqkv of dq and the gradient caches
pub(crate) const KERNEL: Kernel = kernel!("split_qkv_grad", 64, GROWTH, HEADS, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for SplitQkvGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let [_, s, kv_cols] = target.cache(self.dk_cache);
        let rotated = target.cols(self.rope);
        let (head_dim, Growth { beta, every }) = (self.head_dim as u32, self.growth);
        let [grouped, neighbours] = [self.grouped, self.neighbours].map(u32::from);
        let q_cols = target.cols(self.dq);
        let params = Params { q_cols, kv_cols, head_dim, s, rotated, grouped, neighbours, every, beta };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, target.cols(self.dqkv) / 2))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            dq: made.f32(&[made.n, H * D]),
            dk_cache: made.cache(Dtype::F32, D),
            dv_cache: made.cache(Dtype::F32, D),
            rope: made.f32(&[S, D - 8]),
            dqkv: made.f32(&[made.n, (H + 2 * K) * D]),
            head_dim: D,
            grouped: false,
            neighbours: false,
            growth: Growth::default(),
        }
    }
}
