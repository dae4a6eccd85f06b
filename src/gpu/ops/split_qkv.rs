//! The launch of `split_qkv`.
//! What it computes is said by `crate::ops::SplitQkv`.

use crate::ops::{Growth, SplitQkv};
use crate::plan::Dtype;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{H, K, Made, S, head_dim};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32, neighbours: u32, every: u32, beta: f32
}

/// q rotated; k rotated and v into the cache
pub const KERNEL: Kernel = kernel!("split_qkv", 64, GROWTH, HEADS, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL, PACKED];

/// The same into a cache whose elements share words.
const PACKED: Kernel = Kernel {
    dtype: Dtype::F16,
    ..kernel!("split_qkv_packed" of "split_qkv" over STORE_F16, 64, GROWTH, HEADS, ROW)
};

/// Columns that an invocation of `shaders/split_qkv_packed.wgsl` makes.
fn unit(dtype: Dtype) -> u32 {
    if dtype == Dtype::Q8 { 64 } else { 2 }
}

impl Launch for SplitQkv {
    fn launch(&self, target: &Target) -> Dispatch {
        let [_, s, kv_cols] = target.cache(self.k_cache);
        let rotated = target.cols(self.rope);
        let (head_dim, Growth { beta, every }) = (self.head_dim as u32, self.growth);
        let [grouped, neighbours] = [self.grouped, self.neighbours].map(u32::from);
        let q_cols = target.cols(self.q);
        let params = Params { q_cols, kv_cols, head_dim, s, rotated, grouped, neighbours, every, beta };
        let (dtype, cols) = (target.dtype(self.k_cache), target.cols(self.qkv));
        let kernel = if dtype.is_packed() { PACKED.over(dtype) } else { KERNEL };
        Dispatch::new(self, kernel, &params, target.threads(kernel, cols / unit(dtype)))
    }

    fn case(made: &mut Made, kernel: &Kernel) -> Self {
        let d = head_dim(kernel.dtype);
        Self {
            rows: made.rows(),
            qkv: made.f32(&[made.n, (H + 2 * K) * d]),
            rope: made.f32(&[S, d - 8]),
            q: made.f32(&[made.n, H * d]),
            k_cache: made.cache(kernel.dtype, d),
            v_cache: made.cache(kernel.dtype, d),
            head_dim: d,
            grouped: false,
            neighbours: false,
            growth: Growth::default(),
        }
    }
}
