//! Twin of `shaders/outer_grad.wgsl`.

use crate::control::{INACTIVE, Row};

use super::linear::Columns;

/// g[r, v.first + j] += Σ u[n, u.first + r]·v[n, v.first + j] over the active rows n, for
/// r < `count` and j < `cols`
///
/// rows (N, 4), u (N, u.stride), v (N, v.stride) -> g (count, v.stride).
pub(crate) fn outer_grad(
    rows: &[Row],
    (u, u_columns): (&[f32], Columns),
    (v, v_columns): (&[f32], Columns),
    count: usize,
    cols: usize,
    g: &mut [f32],
) {
    let active = || (0..rows.len()).filter(|&n| rows[n].slot != INACTIVE);
    for r in 0..count {
        for j in v_columns.first..v_columns.first + cols {
            let product = |n: usize| {
                f64::from(u[n * u_columns.stride + u_columns.first + r])
                    * f64::from(v[n * v_columns.stride + j])
            };
            let g = &mut g[r * v_columns.stride + j];
            *g = (f64::from(*g) + active().map(product).sum::<f64>()) as f32;
        }
    }
}
