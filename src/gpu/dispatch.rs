//! From an op to a dispatch: which kernel, which parameters, which buffers, how many
//! workgroups. The parameter structs mirror the shaders' `Params`; a test compares them.

use bytemuck::{Pod, Zeroable, bytes_of as bytes};

use crate::plan::{FEW_ROWS, Op, TensorId, Tensors};

use super::dispatch_grad::dispatch_grad;
use super::kernels::{self, Kernel};

macro_rules! params {
    ($(#[$doc:meta] $name:ident { $($field:ident: $ty:ty),* $(,)? })*) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        #[repr(C)]
        #[expect(missing_docs, reason = "the shader of the same name explains its fields")]
        pub struct $name { $(pub $field: $ty),* }

        impl $name {
            /// Field names and byte offsets, for the test against the shader.
            pub fn layout() -> Vec<(&'static str, usize)> {
                vec![$((stringify!($field), std::mem::offset_of!($name, $field))),*]
            }
        }
    )*};
}
pub(super) use params;

params! {
    /// `shaders/embed.wgsl`
    Embed { c: u32, first: u32, table_rows: u32, with_positions: u32 }
    /// `shaders/embed_delta.wgsl`
    EmbedDelta { c: u32, v: u32, ranks: u32, adapters: u32, with_rows: u32 }
    /// `shaders/head_delta.wgsl`
    HeadDelta { c: u32, v: u32 }
    /// `shaders/norm.wgsl`
    Norm { c: u32, eps: f32, centred: u32, with_bias: u32, ranks: u32, rows_of_a: u32, z_cols: u32 }
    /// `shaders/shared/linear.wgsl`
    Linear {
        n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32,
        ranks: u32, partials: u32, z_cols: u32, adapters: u32, part_1: u32, part_2: u32,
    }
    /// `shaders/affine.wgsl`
    Affine { c: u32, adapters: u32 }
    /// `shaders/shrink.wgsl`
    Shrink { c: u32, ranks: u32, rows_of_a: u32, z_cols: u32 }
    /// `shaders/activation.wgsl`
    Activation { f: u32, kind: u32, gated: u32 }
    /// `shaders/split_qkv.wgsl`
    SplitQkv { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32 }
    /// `shaders/attention.wgsl`
    Attention {
        q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, window: u32, ranks: u32, z_cols: u32,
    }
    /// `shaders/sample.wgsl`
    Sample { v: u32 }
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// Bytes of its `Params`.
    pub params: Vec<u8>,
    /// Buffers from binding 1 on; `None` where an optional input is absent.
    pub bindings: Vec<Option<TensorId>>,
    /// Grid.
    pub workgroups: [u32; 3],
}

/// The launch that computes `op` for `n` rows. `lanes` is the override `LANES`.
pub fn dispatch(op: &Op, tensors: &Tensors, n: usize, lanes: u32) -> Dispatch {
    let cols = |id: TensorId| tensors.get(id).row_len() as u32;
    let rows_of = |id: TensorId| tensors.get(id).shape[0] as u32;
    let n32 = n as u32;
    let launch = |kernel: Kernel, params: &[u8], bindings: Vec<Option<TensorId>>, workgroups| Dispatch {
        kernel,
        params: params.to_vec(),
        bindings,
        workgroups,
    };
    // Fours of rows that `lanes` invocations each take on.
    let fours = |kernel: Kernel, rows: u32| rows.div_ceil(4 * kernel.workgroup_size / lanes);
    let threads = |kernel: Kernel, per_row: u32| [per_row.div_ceil(kernel.workgroup_size), n32, 1];
    match *op {
        Op::Embed { rows, table, positions, y } => {
            let c = cols(y);
            let params = Embed {
                c,
                first: table.first as u32,
                table_rows: rows_of(table.tensor),
                with_positions: positions.is_some().into(),
            };
            let bindings = vec![Some(rows), Some(table.tensor), positions, Some(y)];
            let kernel = kernels::EMBED.over(tensors.get(table.tensor).dtype);
            launch(kernel, bytes(&params), bindings, threads(kernel, c))
        }
        Op::EmbedDelta { rows, mixes, a, b, ranks, replaced, y } => {
            let ranks = ranks as u32;
            let params = EmbedDelta {
                c: cols(y),
                v: replaced.map_or(cols(a), |r| cols(r.map)),
                ranks,
                adapters: rows_of(b).saturating_sub(ranks) / 2,
                with_rows: replaced.is_some().into(),
            };
            let [map, deltas] = replaced.map_or([None; 2], |r| [r.map, r.deltas].map(Some));
            let bindings = vec![Some(rows), Some(mixes), Some(a), Some(b), map, deltas, Some(y)];
            let kernel = kernels::EMBED_DELTA;
            launch(kernel, bytes(&params), bindings, threads(kernel, cols(y)))
        }
        Op::HeadDelta { rows, mixes, x, replaced, logits } => {
            let params = HeadDelta { c: cols(x), v: cols(logits) };
            let bindings = [rows, mixes, x, replaced.map, replaced.deltas, logits].map(Some).to_vec();
            let kernel = kernels::HEAD_DELTA.on(lanes);
            launch(kernel, bytes(&params), bindings, [fours(kernel, cols(logits)), n32, 1])
        }
        Op::Norm { x, weight, bias, y, eps, centred, shrink } => {
            let rows_of_a = shrink.map_or(0, |s| rows_of(s.a));
            let params = Norm {
                c: cols(x),
                eps,
                centred: centred.into(),
                with_bias: bias.is_some().into(),
                ranks: shrink.map_or(0, |s| s.ranks as u32),
                rows_of_a,
                z_cols: shrink.map_or(0, |s| cols(s.z)),
            };
            let [rows, mixes, a, z] = shrink.map_or([None; 4], |s| [s.rows, s.mixes, s.a, s.z].map(Some));
            let bindings = vec![Some(x), Some(weight), bias, rows, mixes, a, Some(y), z];
            let kernel = kernels::NORM.on(lanes);
            launch(kernel, bytes(&params), bindings, [1 + fours(kernel, rows_of_a), n32, 1])
        }
        Op::Shrink { x, shrink: s } => {
            let (rows_of_a, z_cols) = (rows_of(s.a), cols(s.z));
            let params = Shrink { c: cols(x), ranks: s.ranks as u32, rows_of_a, z_cols };
            let bindings = [x, s.rows, s.mixes, s.a, s.z].map(Some).to_vec();
            let kernel = kernels::SHRINK.on(lanes);
            launch(kernel, bytes(&params), bindings, [fours(kernel, rows_of_a), n32, 1])
        }
        Op::Affine { rows, mixes, gains, x } => {
            let params = Affine { c: cols(x), adapters: rows_of(gains) / 2 };
            let kernel = kernels::AFFINE;
            let bindings = [rows, mixes, gains, x].map(Some).to_vec();
            launch(kernel, bytes(&params), bindings, threads(kernel, cols(x)))
        }
        Op::Linear { x, weight, bias, y, accumulate, delta } => {
            let f = rows_of(weight.tensor);
            let ranks = delta.map_or(0, |d| d.ranks as u32);
            let [part_1, part_2] = delta.map_or([usize::MAX; 2], |d| d.parts);
            let params = Linear {
                n: n32,
                c: cols(x),
                f,
                first: weight.first as u32,
                stride: cols(y),
                with_bias: bias.is_some().into(),
                accumulate: accumulate.into(),
                ranks,
                partials: delta.map_or(0, |d| d.partials as u32),
                z_cols: delta.map_or(0, |d| cols(d.z)),
                adapters: delta.map_or(0, |d| (rows_of(d.b) - ranks) / 2),
                part_1: part_1 as u32,
                part_2: part_2 as u32,
            };
            let adapters = match delta {
                Some(d) => [d.rows, d.mixes, d.z, d.b].map(Some),
                None => [None; 4],
            };
            let bindings = [&[Some(x), Some(weight.tensor), bias][..], &adapters, &[Some(y)]].concat();
            let (kernel, workgroups) = linear_kernel(&params, lanes);
            let kernel = kernel.over(tensors.get(weight.tensor).dtype);
            launch(kernel, bytes(&params), bindings, workgroups)
        }
        Op::Activation { x, y, kind, gated } => {
            let params = Activation { f: cols(y), kind: kind as u32, gated: gated.into() };
            let kernel = kernels::ACTIVATION;
            launch(kernel, bytes(&params), vec![Some(x), Some(y)], threads(kernel, cols(y)))
        }
        Op::SplitQkv { rows, qkv, rope, q, k_cache, v_cache, head_dim } => {
            let k = tensors.get(k_cache);
            let params = SplitQkv {
                q_cols: cols(q),
                kv_cols: k.shape[2] as u32,
                head_dim: head_dim as u32,
                s: k.shape[1] as u32,
            };
            let bindings = [rows, qkv, rope, q, k_cache, v_cache].map(Some).to_vec();
            let kernel = kernels::SPLIT_QKV;
            launch(kernel, bytes(&params), bindings, threads(kernel, cols(qkv) / 2))
        }
        Op::Attention { rows, q, k_cache, v_cache, y, head_dim, scale, window, shrink } => {
            let k = tensors.get(k_cache);
            let params = Attention {
                q_cols: cols(q),
                kv_cols: k.shape[2] as u32,
                head_dim: head_dim as u32,
                s: k.shape[1] as u32,
                scale,
                window: window as u32,
                ranks: shrink.map_or(0, |s| s.ranks as u32),
                z_cols: shrink.map_or(0, |s| cols(s.z)),
            };
            let [mixes, a, z] = shrink.map_or([None; 3], |s| [s.mixes, s.a, s.z].map(Some));
            let bindings = vec![Some(rows), Some(q), Some(k_cache), Some(v_cache), mixes, a, Some(y), z];
            launch(
                kernels::ATTENTION.on(lanes),
                bytes(&params),
                bindings,
                [cols(q) / head_dim as u32, n32, 1],
            )
        }
        Op::Sample { logits, sampling, seen, rows, ring } => {
            let params = Sample { v: cols(logits) };
            let bindings = [logits, sampling, seen, rows, ring].map(Some).to_vec();
            launch(kernels::SAMPLE, bytes(&params), bindings, [n32, 1, 1])
        }
        Op::Grad(ref op) => dispatch_grad(op, tensors, n),
    }
}

/// The variant of `linear` for these parameters, and its grid.
fn linear_kernel(params: &Linear, lanes: u32) -> (Kernel, [u32; 3]) {
    let Linear { n, c, f, .. } = *params;
    // Workgroups for all columns, where `lanes` invocations make `each` of them.
    let columns = |kernel: Kernel, each: u32| f.div_ceil(each * kernel.workgroup_size / lanes);
    let [vec, rows, block] =
        [kernels::LINEAR_VEC, kernels::LINEAR_ROWS, kernels::LINEAR_BLOCK].map(|kernel| kernel.on(lanes));
    match n {
        _ if !c.is_multiple_of(4) => (kernels::LINEAR_TILE, [f.div_ceil(32), n.div_ceil(32), 1]),
        1 => (vec, [columns(vec, 4), n, 1]),
        _ if lanes == 1 => (block, [columns(block, 8), n.div_ceil(8), 1]),
        _ if n as usize <= FEW_ROWS => (rows, [columns(rows, 4), n.div_ceil(4), 1]),
        _ => (kernels::LINEAR_TILE, [f.div_ceil(32), n.div_ceil(32), 1]),
    }
}
