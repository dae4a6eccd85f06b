//! Twin of `shaders/shrink.wgsl`.

use crate::plan::{Mix, Row};

/// z[n, p·R + r] = γ[r] · A[p·R + r] · x[n], for the ranks r that row n's mix has switched on
///
/// rows (N, 4), mixes, x (N, C), a (parts·R, C) -> z (N, z_cols). Other ranks are left alone.
pub fn shrink(
    rows: &[Row],
    mixes: &[Mix],
    x: &[f32],
    a: &[f32],
    c: usize,
    ranks: usize,
    z_cols: usize,
    z: &mut [f32],
) {
    let parts = a.len() / c / ranks;
    for (n, row) in rows.iter().enumerate() {
        let x = &x[n * c..][..c];
        for block in mixes[row.mix as usize].active() {
            for r in (0..parts).flat_map(|p| block.range().map(move |r| p * ranks + r)) {
                let a = &a[r * c..][..c];
                let dot: f64 = x.iter().zip(a).map(|(&x, &a)| f64::from(x) * f64::from(a)).sum();
                z[n * z_cols + r] = (dot * f64::from(block.weight)) as f32;
            }
        }
    }
}
