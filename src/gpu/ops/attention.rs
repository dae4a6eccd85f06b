//! The launch of `attention`.
//! What it computes is said by `crate::ops::Attention`.

use crate::ops::{Attention, AttentionInputs};
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{D, H, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
   q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
   ranks: u32, z_cols: u32,
}

/// y = softmax(scale · q · Kᵀ) · V, and z of the adapters that read it
pub const KERNEL: Kernel = kernel!("attention", 64, REDUCE, CAP, MIX, ROW);

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
        Dispatch::new(self, KERNEL.on(target.lanes), &params, [heads, target.n, 1])
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let [mixes, a, z] = self.shrink.map_or([None; 3], |s| [s.mixes, s.a, s.z].map(Some));
        let [rows, q, k, v, y] = [self.rows, self.q, self.k_cache, self.v_cache, self.y].map(Some);
        vec![rows, q, k, v, mixes, a, y, z]
    }

    fn work(&self, target: &Target) -> u64 {
        2 * target.keys(self.q, self.k_cache)
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        made.n = 8;
        let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, .. } = made.attention();
        let (y, shrink) = (made.f32(&[made.n, H * D]), Some(made.shrink(rows, H * D, 1, H)));
        Self { rows, q, k_cache, v_cache, y, head_dim, scale, cap, window: 100, shrink }
    }
}
