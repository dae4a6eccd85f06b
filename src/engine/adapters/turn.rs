//! Matrices in another order: turned, or their rows as another program has them.
//! Not what they mean.

/// matrix (N, cols) -> (cols, N)
pub(crate) fn transpose(matrix: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| matrix.iter().skip(c).step_by(cols).copied()).collect()
}

/// Undoes the interleaving of the halves of each head's `d` rows: x (F, row) -> (F, row).
pub(crate) fn half_split<T: Copy>(x: &[T], row: usize, d: usize) -> Vec<T> {
    let from = |head: &[T], to: usize| {
        let (j, i) = (to / (d / 2), to % (d / 2));
        head[(2 * i + j) * row..][..row].to_vec()
    };
    x.chunks_exact(d * row).flat_map(|head| (0..d).flat_map(move |to| from(head, to))).collect()
}
