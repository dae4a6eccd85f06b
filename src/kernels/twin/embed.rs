//! Twin of `shaders/embed.wgsl`.

use super::weight::WeightData;
use crate::control::Row;

/// y[n] = scale · table[token[n] − first] (+ positions[pos[n]])
///
/// rows (N, 4), table (rows of it, C), positions (S, C) -> y (N, C). Tokens outside
/// first..first + rows of `table` leave y untouched: another slice of the table holds them.
pub(crate) fn embed(
    rows: &[Row],
    table: WeightData<'_>,
    first: usize,
    scale: f32,
    positions: Option<&[f32]>,
    y: &mut [f32],
) {
    let c = table.c;
    let mut space = Vec::new();
    for (row, y) in rows.iter().zip(y.chunks_exact_mut(c)) {
        let index = (row.token as usize).checked_sub(first).filter(|&index| index < table.rows());
        let Some(index) = index else { continue };
        y.iter_mut().zip(table.read(index, 1, &mut space)).for_each(|(y, x)| *y = scale * x);
        if let Some(positions) = positions {
            let line = &positions[row.pos as usize * c..][..c];
            y.iter_mut().zip(line).for_each(|(y, p)| *y += p);
        }
    }
}
