//! Fast [`expand_grad`](crate::twin::expand_grad): four ranks at a time.

use crate::control::{Mix, Row};

use super::lanes::{add_four, add_scaled};
use crate::pool::Pool;

/// dx[n] = Σ dz[n, r]·a[r] (+ dx[n]); see the twin.
pub(crate) fn expand_grad(
    pool: &Pool,
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
    let line = |r: usize| &a[r * c..][..c];
    pool.split_rows(&mut dx[..rows.len() * c], c, rows.len() * a.len(), |part, dx| {
        for ((n, row), dx) in part.clone().zip(&rows[part]).zip(dx.chunks_exact_mut(c)) {
            if !accumulate {
                dx.fill(0.0);
            }
            let z = &dz[n * z_cols..][..z_cols];
            for block in mixes[row.mix as usize].active() {
                for part in 0..parts {
                    let (mut r, end) = (part * ranks + block.range().start, part * ranks + block.range().end);
                    while r + 4 <= end {
                        let lines = [line(r), line(r + 1), line(r + 2), line(r + 3)];
                        add_four(dx, [z[r], z[r + 1], z[r + 2], z[r + 3]], lines);
                        r += 4;
                    }
                    (r..end).for_each(|r| add_scaled(dx, z[r], line(r)));
                }
            }
        }
    });
}
