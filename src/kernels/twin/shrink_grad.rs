//! Twin of `shaders/shrink_grad.wgsl`.

use crate::control::{Mix, Row};

/// dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f] over the outputs f of part p, for the ranks r that
/// row n's mix has switched on
///
/// rows (N, 4), mixes, dy (N, F), b (≥ R, F) -> dz (N, z_cols). Other ranks are left alone.
pub(crate) fn shrink_grad(
    rows: &[Row],
    mixes: &[Mix],
    dy: &[f32],
    b: &[f32],
    f: usize,
    ranks: usize,
    parts: [usize; 2],
    z_cols: usize,
    dz: &mut [f32],
) {
    for (n, row) in rows.iter().enumerate() {
        for block in mixes[row.mix as usize].active() {
            for (p, [first, end]) in part_columns(parts, f).into_iter().enumerate() {
                let dy = &dy[n * f + first..n * f + end];
                for r in block.range() {
                    let b = &b[r * f + first..r * f + end];
                    let dot: f64 = dy.iter().zip(b).map(|(&dy, &b)| f64::from(dy) * f64::from(b)).sum();
                    dz[n * z_cols + p * ranks + r] = (dot * f64::from(block.weight)) as f32;
                }
            }
        }
    }
}

/// The columns of each part of a fused map of `f` outputs: first and end.
pub fn part_columns(parts: [usize; 2], f: usize) -> Vec<[usize; 2]> {
    let firsts = [0, parts[0], parts[1], f].map(|first| first.min(f));
    firsts.windows(2).map(|w| [w[0], w[1]]).filter(|[first, end]| first < end).collect()
}
