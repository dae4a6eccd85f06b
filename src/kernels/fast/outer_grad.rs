//! Fast [`outer_grad`](crate::twin::outer_grad): the active rows of u transposed, then
//! one product.

use crate::control::{INACTIVE, Row};
use crate::pool::{Pool, Shared};

use super::lanes::LINE;
use super::product::{Window, add_product};
use crate::twin::linear::Columns;

/// g[r, v.first + j] += Σ u[n, u.first + r]·v[n, v.first + j]; see the twin.
pub(crate) fn outer_grad(
    pool: &Pool,
    rows: &[Row],
    (u, u_columns): (&[f32], Columns),
    (v, v_columns): (&[f32], Columns),
    count: usize,
    cols: usize,
    g: &mut [f32],
) {
    let active: Vec<usize> = (0..rows.len()).filter(|&n| rows[n].slot != INACTIVE).collect();
    let at = |r: usize| move |&n: &usize| u[n * u_columns.stride + u_columns.first + r];
    let turned: Vec<f32> = (0..count).flat_map(|r| active.iter().map(at(r))).collect();
    let turned = Window { data: &turned, first: 0, stride: active.len() };
    let Columns { first, stride } = v_columns;
    let (n, g) = (active.len(), Shared::new(g));
    pool.split(cols, LINE, count * n * cols, |part| {
        let row = |k: usize| &v[active[k] * stride + first..][part.clone()];
        // SAFETY: parts have different columns.
        unsafe { add_product(turned, count, n, row, g, first + part.start, stride) };
    });
}
