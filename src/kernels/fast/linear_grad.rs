//! Fast [`linear_grad`](crate::twin::linear_grad): W is packed once and read from the
//! first cache by every four rows of dy.

use super::product::{DEPTH, Window, add_product};
use crate::twin::linear::Columns;
use crate::twin::weight::WeightData;

/// dx = dy[:, first..first + F] · W (+ dx); see the twin.
pub(crate) fn linear_grad(
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
    let mut space = Vec::new();
    for first in (0..f).step_by(DEPTH) {
        let depth = DEPTH.min(f - first);
        let rows = weight.read(first, depth, &mut space);
        let dy = Window { data: dy, first: columns.first + first, stride: columns.stride };
        add_product(dy, n, depth, |k| &rows[k * c..][..c], dx, 0, c);
    }
}
