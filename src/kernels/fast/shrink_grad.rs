//! Fast [`shrink_grad`](crate::twin::shrink_grad): four ranks at a time.

use crate::control::{Mix, Row};
use crate::twin::shrink_grad::part_columns;

use super::lanes::dots;
use crate::pool::Pool;

/// dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f]; see the twin.
pub(crate) fn shrink_grad(
    pool: &Pool,
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
    let edges = part_columns(parts, f);
    let dz = &mut dz[..rows.len() * z_cols];
    pool.split_rows(dz, z_cols, rows.len() * ranks * f, |part, dz| {
        for ((n, row), dz) in part.clone().zip(&rows[part]).zip(dz.chunks_exact_mut(z_cols)) {
            for block in mixes[row.mix as usize].active() {
                for (p, &[first, end]) in edges.iter().enumerate() {
                    let dy = &dy[n * f + first..n * f + end];
                    let line = |r: usize| &b[r * f + first..r * f + end];
                    let dz = &mut dz[p * ranks..][..ranks];
                    let (mut r, end) = (block.range().start, block.range().end);
                    while r + 4 <= end {
                        let [four] = dots([dy], [line(r), line(r + 1), line(r + 2), line(r + 3)]);
                        dz[r..r + 4].iter_mut().zip(four).for_each(|(dz, dot)| *dz = dot * block.weight);
                        r += 4;
                    }
                    for r in r..end {
                        let [[dot]] = dots([dy], [line(r)]);
                        dz[r] = dot * block.weight;
                    }
                }
            }
        }
    });
}
