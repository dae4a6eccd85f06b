//! The launch of `split_qkv`.
//! What it computes is said by `crate::ops::SplitQkv`.

use crate::ops::{Growth, Linear, Norm, SplitQkv};
use crate::plan::Dtype;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{H, K, Made, S, head_dim};
use super::super::launch::{Binding, Dispatch, Launch, Target, params};

params! {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32, neighbours: u32, every: u32, beta: f32,
    c: u32, with_bias: u32, normed: u32, eps: f32,
}

/// q rotated; k rotated and v into the cache
pub(crate) const KERNEL: Kernel = kernel!("split_qkv", 64, GROWTH, HEADS, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL, PACKED, FUSED];

/// The same into a cache whose elements share words.
const PACKED: Kernel = Kernel {
    dtype: Dtype::F16,
    ..kernel!("split_qkv_packed" of "split_qkv" over STORE_F16, 64, GROWTH, HEADS, ROW)
};

/// The same of the map and the norm in front of it, one row; see `fuse`
pub(crate) const FUSED: Kernel = kernel!(
    "split_qkv_fused" of "split_qkv" over WEIGHT_F32X4, 64,
    NORMED_ROW, RMS, REDUCE, FOUR_WEIGHTS, LANES, GROWTH, HEADS, ROW
);

/// Columns that an invocation of `shaders/split_qkv_packed.wgsl` makes.
fn unit(dtype: Dtype) -> u32 {
    if dtype == Dtype::Q8 { 64 } else { 2 }
}

fn params(op: &SplitQkv, target: &Target) -> Params {
    let [_, s, kv_cols] = target.cache(op.k_cache);
    let Growth { beta, every } = op.growth;
    let [grouped, neighbours] = [op.grouped, op.neighbours].map(u32::from);
    Params {
        q_cols: target.cols(op.q),
        kv_cols,
        head_dim: op.head_dim as u32,
        s,
        rotated: target.cols(op.rope),
        grouped,
        neighbours,
        every,
        beta,
        c: 0,
        with_bias: 0,
        normed: 0,
        eps: 0.0,
    }
}

/// One row of a map without adapters, split, and the norm that makes its x.
pub(in crate::gpu) fn fused(
    op: &SplitQkv,
    linear: &Linear,
    norm: Option<&Norm>,
    target: &Target,
) -> Dispatch {
    let (mut params, weight) = (params(op, target), linear.weight.tensor);
    (params.c, params.with_bias) = (target.cols(linear.x), linear.bias.is_some().into());
    let (mut x, mut vector) = (linear.x, linear.bias);
    if let Some(norm) = norm {
        (params.normed, params.eps) = (1, norm.eps);
        (x, vector) = (norm.x, Some(norm.weight));
    }
    let kernel = FUSED.over(target.dtype(weight));
    let dispatch = Dispatch::new(op, kernel, &params, [target.fours(kernel, target.lines(weight)), 1, 1]);
    let [x, weight, rows, rope] = [x, weight, op.rows, op.rope].map(Binding::Tensor);
    let outputs = [op.q, op.k_cache, op.v_cache].map(Binding::Tensor);
    dispatch.over([&[x, weight, vector.into(), rows, rope][..], &outputs].concat())
}

impl Launch for SplitQkv {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = params(self, target);
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
