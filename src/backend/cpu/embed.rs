//! Twin of `shaders/embed.wgsl`.

use crate::plan::Row;

/// y[n] = table[token[n] − first] (+ positions[pos[n]])
///
/// rows (N, 4), table (rows of it, C), positions (S, C) -> y (N, C). Tokens outside
/// first..first + rows of `table` leave y untouched: another slice of the table holds them.
pub fn embed(rows: &[Row], table: &[f32], first: usize, positions: Option<&[f32]>, c: usize, y: &mut [f32]) {
    for (row, y) in rows.iter().zip(y.chunks_exact_mut(c)) {
        let Some(index) = (row.token as usize).checked_sub(first) else { continue };
        let Some(line) = table.chunks_exact(c).nth(index) else { continue };
        y.copy_from_slice(line);
        if let Some(positions) = positions {
            let line = &positions[row.pos as usize * c..][..c];
            y.iter_mut().zip(line).for_each(|(y, p)| *y += p);
        }
    }
}
