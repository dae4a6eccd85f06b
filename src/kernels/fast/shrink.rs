//! Fast [`shrink`](crate::twin::shrink): four ranks at a time.

use super::lanes::dots;
use crate::pool::Pool;
use crate::twin::shrink::ShrinkData;

/// z = γ ∘ A·x; see the twin.
pub(crate) fn shrink(pool: &Pool, x: &[f32], shrink: ShrinkData<'_>, c: usize, z: &mut [f32]) {
    let n = shrink.rows.len();
    let z = &mut z[..n * shrink.z_cols];
    pool.split_rows(z, shrink.z_cols, n * shrink.a.len(), |part, z| {
        rows(&x[part.start * c..], ShrinkData { rows: &shrink.rows[part], ..shrink }, c, z);
    });
}

fn rows(x: &[f32], shrink: ShrinkData<'_>, c: usize, z: &mut [f32]) {
    shrink.for_each(c, |n, weight, first, at, count, columns| {
        let x = &x[n * c..][columns.clone()];
        let line = |r: usize| &shrink.a[(first + r) * c..][columns.clone()];
        let z = &mut z[at..][..count];
        let fours = count - count % 4;
        for r in (0..fours).step_by(4) {
            let [four] = dots([x], [line(r), line(r + 1), line(r + 2), line(r + 3)]);
            z[r..r + 4].iter_mut().zip(four).for_each(|(z, dot)| *z = dot * weight);
        }
        for r in fours..count {
            let [[dot]] = dots([x], [line(r)]);
            z[r] = dot * weight;
        }
    });
}
