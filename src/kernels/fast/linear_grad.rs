//! Fast [`linear_grad`](crate::twin::linear_grad): W is packed once and read from the
//! first cache by every four rows of dy.

use super::lanes::LINE;
use super::product::{DEPTH, Window, add_product};
use crate::pool::{Pool, Shared};
use crate::twin::linear::Columns;
use crate::twin::weight::WeightData;

/// dx = dy[:, first..first + F] · W (+ dx); see the twin.
pub(crate) fn linear_grad(
    pool: &Pool,
    dy: &[f32],
    weight: WeightData<'_>,
    columns: Columns,
    accumulate: bool,
    dx: &mut [f32],
) {
    let (n, f, c) = (dy.len() / columns.stride, weight.rows(), weight.c);
    if !accumulate {
        dx[..n * c].fill(0.0);
    }
    let dx = Shared::new(dx);
    let mut space = Vec::new();
    for first in (0..f).step_by(DEPTH) {
        let depth = DEPTH.min(f - first);
        let rows = widened(pool, weight.part(first..first + depth), &mut space);
        let dy = Window { data: dy, first: columns.first + first, stride: columns.stride };
        pool.split(c, LINE, n * depth * c, |part| {
            let row = |k: usize| &rows[k * c..][part.clone()];
            // SAFETY: parts have different columns.
            unsafe { add_product(dy, n, depth, row, dx, part.start, c) };
        });
    }
}

/// W as f32, (F, C): where it lies, or widened into `space`.
fn widened<'a>(pool: &Pool, weight: WeightData<'a>, space: &'a mut Vec<f32>) -> &'a [f32] {
    let WeightData { dtype, words, c } = weight;
    if !dtype.is_packed() {
        return bytemuck::cast_slice(words);
    }
    let f = weight.rows();
    space.resize(f * c, 0.0);
    pool.split_rows(space, c, f * c, |rows, space| dtype.unpack(weight.part(rows).words, c, space));
    space
}
