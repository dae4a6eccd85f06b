//! Twin of `shaders/expand_grad.wgsl`.

use crate::control::{Mix, Row};

/// dx[n] = Σ dz[n, r]·a[r] (+ dx[n]), over the ranks of all parts that row n's mix has switched
/// on
///
/// rows (N, 4), mixes, dz (N, z_cols), a (parts·R, C) -> dx (N, C). With `accumulate` what dx
/// holds is added.
pub(crate) fn expand_grad(
    rows: &[Row],
    mixes: &[Mix],
    dz: &[f32],
    a: &[f32],
    c: usize,
    ranks: usize,
    z_cols: usize,
    accumulate: bool,
    dx: &mut [f32],
) {
    let parts = a.len() / c / ranks;
    for (n, (row, dx)) in rows.iter().zip(dx.chunks_exact_mut(c)).enumerate() {
        let blocks = mixes[row.mix as usize].active();
        for (i, dx) in dx.iter_mut().enumerate() {
            let mut sum = if accumulate { f64::from(*dx) } else { 0.0 };
            for part in 0..parts {
                for r in blocks.iter().flat_map(|block| block.range()).map(|r| part * ranks + r) {
                    sum += f64::from(dz[n * z_cols + r]) * f64::from(a[r * c + i]);
                }
            }
            *dx = sum as f32;
        }
    }
}
