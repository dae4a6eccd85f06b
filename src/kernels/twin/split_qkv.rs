//! Twin of `shaders/split_qkv.wgsl`.

use crate::control::{INACTIVE, Row};

/// Sizes of the heads and of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// H·D, columns of q
    pub(crate) q_cols: usize,
    /// K·D, columns of k and of v
    pub(crate) kv_cols: usize,
    /// D
    pub(crate) head_dim: usize,
    /// S
    pub(crate) s: usize,
}

/// Parts each row of qkv: q rotated to `q`, k rotated and v into the cache at [slot, pos].
///
/// rows (N, 4), qkv (N, (H + 2K)·D), rope (S, E) -> q (N, H·D), k_cache and v_cache
/// (slots, S, K·D). Of the first E elements of a head, the pairs (i, i + E/2) are rotated, as
/// transformers' `rotate_half` has them (arXiv:2104.09864); the others pass. Inactive rows write nothing.
pub(crate) fn split_qkv(
    rows: &[Row],
    qkv: &[f32],
    rope: &[f32],
    rotated: usize,
    heads: Heads,
    q: &mut [f32],
    k_cache: &mut [f32],
    v_cache: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim, s } = heads;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        let pos = row.pos as usize;
        let line = &qkv[n * (q_cols + 2 * kv_cols)..][..q_cols + 2 * kv_cols];
        let angles = &rope[pos * rotated..][..rotated];
        let cell = (row.slot as usize * s + pos) * kv_cols;
        rotate(&line[..q_cols], head_dim, angles, &mut q[n * q_cols..][..q_cols]);
        rotate(&line[q_cols..][..kv_cols], head_dim, angles, &mut k_cache[cell..][..kv_cols]);
        v_cache[cell..][..kv_cols].copy_from_slice(&line[q_cols + kv_cols..]);
    }
}

/// y = x rotated head by head; angles is [cos | sin], E long.
fn rotate(x: &[f32], d: usize, angles: &[f32], y: &mut [f32]) {
    let e = angles.len();
    let (cos, sin) = angles.split_at(e / 2);
    for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
        for i in 0..e / 2 {
            let (a, b) = (x[i], x[i + e / 2]);
            y[i] = a * cos[i] - b * sin[i];
            y[i + e / 2] = b * cos[i] + a * sin[i];
        }
        y[e..].copy_from_slice(&x[e..]);
    }
}
