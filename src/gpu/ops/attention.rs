//! The launch of `attention`.
//! What it computes is said by `crate::ops::Attention`.

use crate::ops::{Attention, AttentionInputs};
use crate::plan::{Dtype, FEW_ROWS, TensorId};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{D, H, Made};
use super::super::launch::{Binding, Dispatch, Launch, Target, params};

params! {
   q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
   ranks: u32, z_cols: u32, splits: u32,
}

/// y = softmax(scale · q · Kᵀ) · V, and z of the adapters that read it; heads of any size
pub(crate) const KERNEL: Kernel = kernel!("attention" over CACHE_F32X4, 64, REDUCE, WINDOW, CAP, MIX, ROW);
/// The same of a part of the keys, for all heads that share them; of all keys where rows are many
pub(crate) const SPLIT: Kernel =
    kernel!("attention_split" of "attention" over CACHE_FOURS, 64, WINDOW, CAP, ROW);
/// y of all parts, and z
pub(crate) const MERGE: Kernel = kernel!("attention_merge" of "attention", 64, WINDOW, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL, SPLIT, MERGE];

/// Parts of the keys of a row where rows are few: the same for every row, as what it sums in which order depends
/// on them.
const SPLITS: u32 = 32;
/// Query heads that a workgroup of `shaders/attention_split.wgsl` serves.
const HEADS: u32 = 8;

fn params(op: &Attention, target: &Target, splits: u32) -> Params {
    let [_, s, kv_cols] = target.cache(op.k_cache);
    Params {
        q_cols: target.cols(op.q),
        kv_cols,
        head_dim: op.head_dim as u32,
        s,
        scale: op.scale,
        cap: op.cap,
        window: op.window as u32,
        ranks: op.shrink.map_or(0, |s| s.ranks as u32),
        z_cols: op.shrink.map_or(0, |s| target.cols(s.z)),
        splits,
    }
}

/// Attention over the parts of the keys, into `out`.
fn split(op: &Attention, target: &Target, params: &Params, out: Binding) -> Dispatch {
    let served = params.kv_cols / params.head_dim * (params.q_cols / params.kv_cols).div_ceil(HEADS);
    let inputs = [op.rows, op.q, op.k_cache, op.v_cache].map(Binding::Tensor);
    let kernel = SPLIT.over(target.dtype(op.k_cache));
    let dispatch = Dispatch::new(op, kernel, params, [served * params.splits, target.n, 1]);
    dispatch.over(inputs.into_iter().chain([out]).collect())
}

/// y, and z, of the parts.
fn merge(op: &Attention, target: &Target, params: &Params, parts: Binding) -> Dispatch {
    let [mixes, a, z] = op.shrink.map_or([None; 3], |s| [s.mixes, s.a, s.z].map(Some)).map(Binding::from);
    let [rows, y] = [op.rows, op.y].map(Binding::Tensor);
    let dispatch = Dispatch::new(op, MERGE, params, [params.q_cols / params.head_dim, target.n, 1]);
    dispatch.over(vec![rows, parts, mixes, a, y, z])
}

impl Launch for Attention {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = params(self, target, 1);
        let kernel = KERNEL.over(target.dtype(self.k_cache)).on(target.lanes);
        Dispatch::new(self, kernel, &params, [params.q_cols / params.head_dim, target.n, 1])
    }

    fn launches(&self, target: &Target) -> Vec<Dispatch> {
        let in_fours = self.head_dim.is_multiple_of(4);
        if in_fours && target.n as usize > FEW_ROWS && self.shrink.is_none() {
            return vec![split(self, target, &params(self, target, 1), Binding::Tensor(self.y))];
        }
        // A software adapter has no use for more workgroups than heads.
        if !in_fours || target.lanes == 1 {
            return vec![self.launch(target)];
        }
        let params = params(self, target, SPLITS);
        let words = target.n * (params.q_cols / params.head_dim) * SPLITS * (params.head_dim + 4);
        let parts = Binding::Scratch(4 * u64::from(words));
        vec![split(self, target, &params, parts.clone()), merge(self, target, &params, parts)]
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
        // Of many rows all keys are one part, and nothing rides.
        let is_split = kernel.name == "attention_split";
        made.n = if is_split { 12 } else { 8 };
        let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, .. } = match kernel {
            Kernel { name: "attention", dtype: Dtype::F32, .. } => made.attention_of(Dtype::F32, D - 2),
            _ => made.attention(kernel.dtype),
        };
        let c = H * head_dim;
        let y = made.f32(&[made.n, c]);
        let shrink = (!is_split).then(|| made.shrink(rows, c, 1, H));
        Self { rows, q, k_cache, v_cache, y, head_dim, scale, cap, window: 100, shrink }
    }
}
