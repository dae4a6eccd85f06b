//! The launch of `linear_grad`.
//! What it computes is said by `crate::ops::LinearGrad`.

use crate::ops::{LinearGrad, Slice};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made, columns};
use super::super::launch::{Binding, Dispatch, Launch, Target, params};

params! {
    n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32, splits: u32,
}

/// dx = dy · W (+ dx), for columns that are no fours
pub(crate) const KERNEL: Kernel = kernel!("linear_grad", 64, WEIGHT_F32, TILE);
/// dx = dy · W (+ dx), or the sums of parts of it
pub(crate) const TILE: Kernel = kernel!("linear_grad_tile" of "linear_grad" over WEIGHT_F32X4, 64, WIDE_TILE);
/// dx = Σ parts (+ dx)
pub(crate) const SUM: Kernel = kernel!("linear_grad_sum" of "linear_grad", 64);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL, TILE, SUM];

/// So many workgroups keep a device busy: fewer are made more, each with a part of the sum.
const BUSY: u32 = 128;
/// Outputs of the map that such a part has at least, and parts that there are at most.
const LEAST_PART: u32 = 128;
const MAX_SPLITS: u32 = 16;

/// Parts of a sum over `f` outputs where so many workgroups make it whole.
fn splits(workgroups: u32, f: u32, lanes: u32) -> u32 {
    // A software adapter is busy with a few.
    let most = if lanes == 1 { 1 } else { (f / LEAST_PART).clamp(1, MAX_SPLITS) };
    BUSY.div_ceil(workgroups).min(most)
}

fn params(op: &LinearGrad, target: &Target, splits: u32) -> Params {
    Params {
        n: target.n,
        c: target.cols(op.dx),
        f: target.lines(op.weight.tensor),
        first: op.weight.first as u32,
        stride: target.cols(op.dy),
        dx_first: op.dx_first as u32,
        accumulate: op.accumulate.into(),
        splits,
    }
}

impl Launch for LinearGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let params = params(self, target, 1);
        Dispatch::new(self, KERNEL, &params, target.tiles(target.n, params.c))
    }

    fn launches(&self, target: &Target) -> Vec<Dispatch> {
        let weight = self.weight.tensor;
        let (n, c, f) = (target.n, target.cols(self.dx), target.lines(weight));
        if !c.is_multiple_of(4) {
            return vec![self.launch(target)];
        }
        let [x, y, _] = target.wide_tiles(n, c);
        let splits = splits(x * y, f, target.lanes);
        let params = params(self, target, splits);
        let tile = Dispatch::new(self, TILE.over(target.dtype(weight)), &params, [x, y, splits]);
        if splits == 1 {
            return vec![tile];
        }
        let parts = Binding::Scratch(4 * u64::from(splits) * u64::from(n) * u64::from(c));
        let [dy, weight, dx] = [self.dy, weight, self.dx].map(Binding::Tensor);
        let sum = Dispatch::new(self, SUM, &params, target.threads(SUM, c / 4));
        vec![tile.over(vec![dy, weight, parts.clone()]), sum.over(vec![parts, dx])]
    }

    fn work(&self, target: &Target) -> u64 {
        target.matrix(self.weight.tensor)
    }

    fn case(made: &mut Made, &Kernel { name, dtype, .. }: &Kernel) -> Self {
        let (cols, f) = match name {
            "linear_grad" => (C - 2, F),
            // So many that they come in parts.
            "linear_grad_sum" => (C, 3 * LEAST_PART as usize),
            _ => (columns(dtype), F),
        };
        Self {
            dy: made.f32(&[made.n, f]),
            weight: Slice { tensor: made.weight(dtype, f - 3, cols), first: 3 },
            dx: made.f32(&[made.n + 1, cols]),
            dx_first: 1,
            accumulate: true,
        }
    }
}
