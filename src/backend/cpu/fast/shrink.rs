//! Fast [`shrink`](crate::backend::cpu::shrink): four ranks at a time.

use crate::plan::{Mix, Row};

use super::lanes::dots;

/// z[n, p·R + r] = γ[r] · A[p·R + r] · x[n]; see the twin.
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
    let line = |r: usize| &a[r * c..][..c];
    for (n, row) in rows.iter().enumerate() {
        let x = &x[n * c..][..c];
        let z = &mut z[n * z_cols..][..z_cols];
        for block in mixes[row.mix as usize].active() {
            for part in 0..parts {
                let (mut r, end) = (part * ranks + block.range().start, part * ranks + block.range().end);
                while r + 4 <= end {
                    let [four] = dots([x], [line(r), line(r + 1), line(r + 2), line(r + 3)]);
                    z[r..r + 4].iter_mut().zip(four).for_each(|(z, dot)| *z = dot * block.weight);
                    r += 4;
                }
                for r in r..end {
                    let [[dot]] = dots([x], [line(r)]);
                    z[r] = dot * block.weight;
                }
            }
        }
    }
}
