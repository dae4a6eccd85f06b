//! Fast [`linear_grad`](crate::backend::cpu::linear_grad): W is packed once and read from the
//! first cache by every four rows of dy.

use super::super::linear::Columns;
use super::product::{Window, add_product};

/// dx = dy[:, first..first + F] · W (+ dx); see the twin.
pub fn linear_grad(dy: &[f32], weight: &[f32], c: usize, columns: Columns, accumulate: bool, dx: &mut [f32]) {
    let (n, f) = (dy.len() / columns.stride, weight.len() / c);
    if !accumulate {
        dx[..n * c].fill(0.0);
    }
    let dy = Window { data: dy, first: columns.first, stride: columns.stride };
    add_product(dy, n, f, |k| &weight[k * c..][..c], dx, 0, c);
}
