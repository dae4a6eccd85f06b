//! Twin of `shaders/keep_rows.wgsl`.

use crate::control::{INACTIVE, Row};

/// y[pos[n]] = x[n]
///
/// rows (N, 4), x (N, C) -> y (S, C). Inactive rows write nothing.
pub(crate) fn keep_rows(rows: &[Row], x: &[f32], c: usize, y: &mut [f32]) {
    for (row, x) in rows.iter().zip(x.chunks_exact(c)).filter(|(row, _)| row.slot != INACTIVE) {
        y[row.pos as usize * c..][..c].copy_from_slice(x);
    }
}
