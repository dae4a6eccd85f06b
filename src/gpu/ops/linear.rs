//! The launch of `linear`, which has a kernel for each of several sizes.
//! What it computes is said by `crate::ops::Linear`.

use crate::ops::{Activation, Delta, Linear, Norm, Slice};
use crate::plan::{FEW_ROWS, TensorId};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{ADAPTERS, F, Made, R, columns};
use super::super::launch::{Binding, Dispatch, Launch, Target, params};

params! {
    n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32,
    ranks: u32, partials: u32, z_cols: u32, adapters: u32, part_1: u32, part_2: u32,
    normed: u32, eps: f32, activated: u32, kind: u32, gated: u32,
}

/// y = delta(x Wᵀ) (+ bias) (+ y), for columns that are no fours
pub(crate) const KERNEL: Kernel = kernel!("linear", 64, WEIGHT_F32, TILE, LINEAR, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), many rows
pub(crate) const TILE: Kernel = kernel!(
    "linear_tile" of "linear" over WEIGHT_F32X4, 64, WIDE_TILE, FEW_ROWS, LINEAR, LANES, MIX, ROW
);
/// y = delta(x Wᵀ) (+ bias) (+ y), one row
pub(crate) const VEC: Kernel =
    kernel!("linear_vec" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), few rows
pub(crate) const ROWS: Kernel =
    kernel!("linear_rows" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), more than one row on a software adapter
pub(crate) const BLOCK: Kernel =
    kernel!("linear_block" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = act(delta(norm(x) Wᵀ) (+ bias)), one row; see `fuse`
pub(crate) const FUSED: Kernel = kernel!(
    "linear_vec_fused" of "linear" over WEIGHT_F32X4, 64,
    NORMED_ROW, RMS, REDUCE, ACT, FEW_ROWS, LINEAR, LANES, MIX, ROW
);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL, TILE, VEC, ROWS, BLOCK, FUSED];

/// The kernel for maps of so many columns, and its grid.
fn kernel_for(c: u32, f: u32, target: &Target) -> (Kernel, [u32; 3]) {
    let Target { n, lanes, .. } = *target;
    let [vec, rows, block] = [VEC, ROWS, BLOCK].map(|kernel| kernel.on(lanes));
    match n {
        _ if !c.is_multiple_of(4) => (KERNEL, target.tiles(n, f)),
        1 => (vec, [target.fours(vec, f), n, 1]),
        // Eights, which one lane makes.
        _ if lanes == 1 => (block, [f.div_ceil(8 * block.workgroup_size), n.div_ceil(8), 1]),
        _ if n as usize <= FEW_ROWS => (rows, [target.fours(rows, f), n.div_ceil(4), 1]),
        _ => (TILE, target.wide_tiles(n, f)),
    }
}

fn params(op: &Linear, target: &Target) -> Params {
    let Linear { x, weight, bias, y, accumulate, delta } = *op;
    let ranks = delta.map_or(0, |d| d.ranks as u32);
    let [part_1, part_2] = delta.map_or([usize::MAX; 2], |d| d.parts);
    Params {
        n: target.n,
        c: target.cols(x),
        f: target.lines(weight.tensor),
        first: weight.first as u32,
        stride: target.cols(y),
        with_bias: bias.is_some().into(),
        accumulate: accumulate.into(),
        ranks,
        partials: delta.map_or(0, |d| d.partials as u32),
        z_cols: delta.map_or(0, |d| target.cols(d.z)),
        adapters: delta.map_or(0, |d| (target.lines(d.b) - ranks) / 2),
        part_1: part_1 as u32,
        part_2: part_2 as u32,
        normed: 0,
        eps: 0.0,
        activated: 0,
        kind: 0,
        gated: 0,
    }
}

/// The map of one row with the norm that makes its x, or the activation that reads its y, or both.
pub(in crate::gpu) fn fused(
    op: &Linear,
    norm: Option<&Norm>,
    activation: Option<&Activation>,
    target: &Target,
) -> Dispatch {
    let mut params = params(op, target);
    let [x, weight, vector, rows, mixes, z, b, y] = op.bindings()[..] else { unreachable!("eight, below") };
    let (mut x, mut vector, mut y) = (x, vector, y);
    if let Some(norm) = norm {
        (params.normed, params.eps) = (1, norm.eps);
        (x, vector) = (Some(norm.x), Some(norm.weight));
    }
    if let Some(activation) = activation {
        (params.activated, params.kind, params.gated) = (1, activation.kind as u32, activation.gated.into());
        y = Some(activation.y);
    }
    let columns = params.f / (1 + params.gated);
    let kernel = FUSED.over(target.dtype(op.weight.tensor));
    let dispatch = Dispatch::new(op, kernel, &params, [target.fours(kernel, columns), 1, 1]);
    dispatch.over([x, weight, vector, rows, mixes, z, b, y].map(Binding::from).to_vec())
}

impl Launch for Linear {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = params(self, target);
        let (kernel, workgroups) = kernel_for(params.c, params.f, target);
        Dispatch::new(self, kernel.over(target.dtype(self.weight.tensor)), &params, workgroups)
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let delta = self.delta.map_or([None; 4], |delta| delta.reads().map(Some));
        [&[Some(self.x), Some(self.weight.tensor), self.bias][..], &delta, &[Some(self.y)]].concat()
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.weight.tensor)
    }

    fn case(made: &mut Made, kernel: &Kernel) -> Self {
        made.n = match kernel.name {
            "linear_vec" => 1,
            "linear_rows" => 7,
            "linear_block" => 11,
            _ => made.n,
        };
        let cols = if kernel.name == "linear" { 18 } else { columns(kernel.dtype) };
        let (rows, mixes) = (made.rows(), made.mixes());
        let (z, b) = (made.f32(&[made.n, 2 * R]), made.f32(&[R + 2 * ADAPTERS, F]));
        let delta = Delta { rows, mixes, z, b, ranks: R, partials: 1, parts: [24, usize::MAX] };
        Self {
            x: made.f32(&[made.n, cols]),
            weight: Slice { tensor: made.weight(kernel.dtype, F, cols), first: 0 },
            bias: Some(made.f32(&[F])),
            y: made.f32(&[made.n, F]),
            accumulate: true,
            delta: Some(delta),
        }
    }
}
