//! Twin of `shaders/recall_rows.wgsl`.

use crate::control::{INACTIVE, Row};

/// x[n] = y[pos[n]], what [`keep_rows`](super::keep_rows) put there
///
/// rows (N, 4), y (S, C) -> x (N, C). Inactive rows write nothing.
pub(crate) fn recall_rows(rows: &[Row], y: &[f32], c: usize, x: &mut [f32]) {
    for (row, x) in rows.iter().zip(x.chunks_exact_mut(c)).filter(|(row, _)| row.slot != INACTIVE) {
        x.copy_from_slice(&y[row.pos as usize * c..][..c]);
    }
}
