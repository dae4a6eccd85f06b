//! Matrices in another order: turned, or their rows as another program has them.
//! Not what they mean.

use crate::model::{Blueprint, RowOrder};

/// matrix (N, cols) -> (cols, N)
pub(crate) fn transpose(matrix: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| matrix.iter().skip(c).step_by(cols).copied()).collect()
}

/// Rows of a linear map in the order that checkpoints have, from llama.cpp's: x (F, row) -> (F, row); `None` if
/// that is the same.
pub(crate) fn restored<T: Copy>(x: &[T], row: usize, order: RowOrder, config: &Blueprint) -> Option<Vec<T>> {
    let &Blueprint { num_attention_heads: h, num_key_value_heads: k, head_dim: d, .. } = config;
    match order {
        RowOrder::Same => None,
        RowOrder::Interleaved => Some(half_split(x, row, d)),
        RowOrder::ByPart => Some(by_group(x, row, [h / k * d, d, d])),
    }
}

/// Rows of q, k and v group by group: x (F, row) -> (F, row), where a group has so many rows of each.
fn by_group<T: Copy>(x: &[T], row: usize, rows: [usize; 3]) -> Vec<T> {
    let of_group: usize = rows.iter().sum();
    let groups = x.len() / (of_group * row);
    let mut grouped = Vec::with_capacity(x.len());
    for group in 0..groups {
        let mut part = 0;
        for rows in rows {
            grouped.extend_from_slice(&x[(part + group * rows) * row..][..rows * row]);
            part += groups * rows;
        }
    }
    grouped
}

/// Undoes the interleaving of the halves of each head's `d` rows: x (F, row) -> (F, row).
pub(crate) fn half_split<T: Copy>(x: &[T], row: usize, d: usize) -> Vec<T> {
    let from = |head: &[T], to: usize| {
        let (j, i) = (to / (d / 2), to % (d / 2));
        head[(2 * i + j) * row..][..row].to_vec()
    };
    x.chunks_exact(d * row).flat_map(|head| (0..d).flat_map(move |to| from(head, to))).collect()
}
