//! The launch of `attention`.
//! What it computes is said by `crate::ops::Attention`.

use crate::ops::{Attention, AttentionInputs};
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{H, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
   q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
   ranks: u32, z_cols: u32,
}

/// y = softmax(scale · q · Kᵀ) · V, and z of the adapters that read it
pub const KERNEL: Kernel = kernel!("attention" over CACHE_F32X4, 64, REDUCE, CAP, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Attention {
    fn launch(&self, target: &Target) -> Dispatch {
        let [_, s, kv_cols] = target.cache(self.k_cache);
        let params = Params {
            q_cols: target.cols(self.q),
            kv_cols,
            head_dim: self.head_dim as u32,
            s,
            scale: self.scale,
            cap: self.cap,
            window: self.window as u32,
            ranks: self.shrink.map_or(0, |s| s.ranks as u32),
            z_cols: self.shrink.map_or(0, |s| target.cols(s.z)),
        };
        let heads = params.q_cols / params.head_dim;
        Dispatch::new(
            self,
            KERNEL.over(target.dtype(self.k_cache)).on(target.lanes),
            &params,
            [heads, target.n, 1],
        )
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let [mixes, a, z] = self.shrink.map_or([None; 3], |s| [s.mixes, s.a, s.z].map(Some));
        let [rows, q, k, v, y] = [self.rows, self.q, self.k_cache, self.v_cache, self.y].map(Some);
        vec![rows, q, k, v, mixes, a, y, z]
    }

    fn work(&self, target: &Target) -> u64 {
        2 * target.keys(self.q, self.k_cache)
    }

    fn case(made: &mut Made, kernel: &Kernel) -> Self {
        made.n = 8;
        let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, .. } =
            made.attention(kernel.dtype);
        let c = H * head_dim;
        let (y, shrink) = (made.f32(&[made.n, c]), Some(made.shrink(rows, c, 1, H)));
        Self { rows, q, k_cache, v_cache, y, head_dim, scale, cap, window: 100, shrink }
    }
}
