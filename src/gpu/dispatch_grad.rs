//! From a step of a backward plan to a dispatch, as `dispatch` does for the forward ones.

use bytemuck::{Pod, Zeroable, bytes_of as bytes};

use crate::plan::{AttentionInputs, GradOp, TensorId, Tensors, part_columns};

use super::dispatch::{Dispatch, params};
use super::kernels::{self, Kernel};

params! {
    /// `shaders/linear_grad.wgsl`
    LinearGrad { n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32 }
    /// `shaders/shrink_grad.wgsl`
    ShrinkGrad { n: u32, f: u32, ranks: u32, z_cols: u32, part_1: u32, part_2: u32 }
    /// `shaders/expand_grad.wgsl`
    ExpandGrad { n: u32, c: u32, ranks: u32, rows_of_a: u32, z_cols: u32, accumulate: u32 }
    /// `shaders/outer_grad.wgsl`
    OuterGrad {
        n: u32, u_first: u32, u_cols: u32, v_cols: u32,
        g_first: u32, count: u32, first: u32, end: u32,
    }
    /// `shaders/rms_norm_grad.wgsl` and `shaders/layer_norm_grad.wgsl`
    NormGrad { c: u32, eps: f32 }
    /// `shaders/activation_grad.wgsl`
    ActivationGrad { f: u32, kind: u32, gated: u32 }
    /// `shaders/attention_grad_q.wgsl`
    AttentionGradQ { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, window: u32 }
    /// `shaders/attention_grad_kv.wgsl`
    AttentionGradKv { n: u32, q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, window: u32 }
    /// `shaders/split_qkv_grad.wgsl`
    SplitQkvGrad { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32 }
    /// `shaders/keep_rows.wgsl` and `shaders/recall_rows.wgsl`
    KeptRows { c: u32 }
    /// `shaders/cross_entropy.wgsl`
    CrossEntropy { v: u32 }
    /// `shaders/square_sum.wgsl`
    SquareSum { len: u32, index: u32 }
    /// `shaders/adam_w.wgsl`
    AdamW { len: u32, g_first: u32, param_first: u32, n_sums: u32 }
    /// `shaders/dropout.wgsl`
    Dropout { c: u32, site: u32, accumulate: u32 }
}

/// Rows and columns of the tiles of `shaders/shared/tile.wgsl`.
const TILE: u32 = 32;

/// Positions that a workgroup of `shaders/attention_grad_kv.wgsl` owns.
const KEYS: u32 = 16;

/// The launch that computes `op` for `n` rows.
pub fn dispatch_grad(op: &GradOp, tensors: &Tensors, n: usize) -> Dispatch {
    let cols = |id: TensorId| tensors.get(id).row_len() as u32;
    let rows_of = |id: TensorId| tensors.get(id).shape[0] as u32;
    let cache = |id: TensorId| [0, 1, 2].map(|axis| tensors.get(id).shape[axis] as u32);
    let n = n as u32;
    let launch = |kernel: Kernel, params: &[u8], workgroups| Dispatch {
        kernel,
        params: params.to_vec(),
        bindings: op.reads().into_iter().chain(op.writes()).map(Some).collect(),
        workgroups,
    };
    let threads = |kernel: Kernel, per_row: u32| [per_row.div_ceil(kernel.workgroup_size), n, 1];
    let tiles = |rows: u32, cols: u32| [cols.div_ceil(TILE), rows.div_ceil(TILE), 1];
    match *op {
        GradOp::Linear { dy, weight, dx, dx_first, accumulate } => {
            let (c, f) = (cols(dx), rows_of(weight.tensor));
            let (first, stride) = (weight.first as u32, cols(dy));
            let dx_first = dx_first as u32;
            let params = LinearGrad { n, c, f, first, stride, dx_first, accumulate: accumulate.into() };
            launch(kernels::LINEAR_GRAD.over(tensors.get(weight.tensor).dtype), bytes(&params), tiles(n, c))
        }
        GradOp::Shrink { dy, dz, ranks, parts, .. } => {
            let (f, [part_1, part_2]) = (cols(dy), parts.map(|first| first as u32));
            let ranks = ranks as u32;
            let params = ShrinkGrad { n, f, ranks, z_cols: cols(dz), part_1, part_2 };
            let [per_part, rows, _] = tiles(n, ranks);
            let n_parts = part_columns(parts, f as usize).len() as u32;
            launch(kernels::SHRINK_GRAD, bytes(&params), [n_parts * per_part, rows, 1])
        }
        GradOp::Expand { dz, a, dx, ranks, accumulate, .. } => {
            let params = ExpandGrad {
                n,
                c: cols(dx),
                ranks: ranks as u32,
                rows_of_a: rows_of(a),
                z_cols: cols(dz),
                accumulate: accumulate.into(),
            };
            launch(kernels::EXPAND_GRAD, bytes(&params), tiles(n, cols(dx)))
        }
        GradOp::Outer { u, u_first, v, g_first, count, cols: [first, end], .. } => {
            let params = OuterGrad {
                n,
                u_first: u_first as u32,
                u_cols: cols(u),
                v_cols: cols(v),
                g_first: g_first as u32,
                count: count as u32,
                first: first as u32,
                end: end as u32,
            };
            launch(kernels::OUTER_GRAD, bytes(&params), tiles(count as u32, (end - first) as u32))
        }
        GradOp::RmsNorm { x, eps, .. } => {
            launch(kernels::RMS_NORM_GRAD, bytes(&NormGrad { c: cols(x), eps }), [n, 1, 1])
        }
        GradOp::LayerNorm { x, eps, .. } => {
            launch(kernels::LAYER_NORM_GRAD, bytes(&NormGrad { c: cols(x), eps }), [n, 1, 1])
        }
        GradOp::Activation { dy, kind, gated, .. } => {
            let params = ActivationGrad { f: cols(dy), kind: kind as u32, gated: gated.into() };
            let kernel = kernels::ACTIVATION_GRAD;
            launch(kernel, bytes(&params), threads(kernel, cols(dy)))
        }
        GradOp::AttentionQ {
            forward: AttentionInputs { q, k_cache, head_dim, scale, window, .. }, ..
        } => {
            let [_, s, kv_cols] = cache(k_cache);
            let (head_dim, window) = (head_dim as u32, window as u32);
            let params = AttentionGradQ { q_cols: cols(q), kv_cols, head_dim, s, scale, window };
            launch(kernels::ATTENTION_GRAD_Q, bytes(&params), [cols(q) / head_dim, n, 1])
        }
        GradOp::AttentionKv { forward, dk_cache, .. } => {
            let AttentionInputs { q, head_dim, scale, window, .. } = forward;
            let [slots, s, kv_cols] = cache(dk_cache);
            let (head_dim, window) = (head_dim as u32, window as u32);
            let params = AttentionGradKv { n, q_cols: cols(q), kv_cols, head_dim, s, scale, window };
            let workgroups = [s.div_ceil(KEYS), kv_cols / head_dim, slots];
            launch(kernels::ATTENTION_GRAD_KV, bytes(&params), workgroups)
        }
        GradOp::SplitQkv { dq, dk_cache, dqkv, head_dim, .. } => {
            let [_, s, kv_cols] = cache(dk_cache);
            let params = SplitQkvGrad { q_cols: cols(dq), kv_cols, head_dim: head_dim as u32, s };
            let kernel = kernels::SPLIT_QKV_GRAD;
            launch(kernel, bytes(&params), threads(kernel, cols(dqkv) / 2))
        }
        GradOp::KeepRows { x, .. } => {
            let kernel = kernels::KEEP_ROWS;
            launch(kernel, bytes(&KeptRows { c: cols(x) }), threads(kernel, cols(x)))
        }
        GradOp::RecallRows { x, .. } => {
            let kernel = kernels::RECALL_ROWS;
            launch(kernel, bytes(&KeptRows { c: cols(x) }), threads(kernel, cols(x)))
        }
        GradOp::CrossEntropy { logits, .. } => {
            launch(kernels::CROSS_ENTROPY, bytes(&CrossEntropy { v: cols(logits) }), [n, 1, 1])
        }
        GradOp::SquareSum { g, index, .. } => {
            let params = SquareSum { len: tensors.get(g).len() as u32, index: index as u32 };
            launch(kernels::SQUARE_SUM, bytes(&params), [1, 1, 1])
        }
        GradOp::AdamW { sums, g_first, param_first, len, .. } => {
            let (len, n_sums) = (len as u32, tensors.get(sums).len() as u32);
            let params = AdamW { len, g_first: g_first as u32, param_first: param_first as u32, n_sums };
            let kernel = kernels::ADAM_W;
            launch(kernel, bytes(&params), [len.div_ceil(4 * kernel.workgroup_size), 1, 1])
        }
        GradOp::Dropout { x, site, accumulate, .. } => {
            let params = Dropout { c: cols(x), site, accumulate: accumulate.into() };
            launch(kernels::DROPOUT, bytes(&params), threads(kernels::DROPOUT, cols(x)))
        }
    }
}
