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

impl Heads {
    /// Where head `j` of [q heads | k heads | v heads] is in a row of qkv: there, or in its group, each of which
    /// is H / K heads of q, then k, then v.
    pub(crate) fn place(&self, j: usize, grouped: bool) -> usize {
        if !grouped {
            return j;
        }
        let (h, k) = (self.q_cols / self.head_dim, self.kv_cols / self.head_dim);
        let of_group = h / k;
        match j.checked_sub(h) {
            None => j / of_group * (of_group + 2) + j % of_group,
            Some(other) => other % k * (of_group + 2) + of_group + other / k,
        }
    }
}

/// Parts each row of qkv: q rotated to `q`, k rotated and v into the cache at [slot, pos].
///
/// rows (N, 4), qkv (N, (H + 2K)·D), rope (S, E) -> q (N, H·D), k_cache and v_cache
/// (slots, S, K·D); [`Heads::place`] says where a head is. Of the first E elements of a head, the pairs
/// (i, i + E/2) are rotated, as transformers' `rotate_half` has them (arXiv:2104.09864); the others pass.
/// Inactive rows write nothing.
pub(crate) fn split_qkv(
    rows: &[Row],
    qkv: &[f32],
    rope: &[f32],
    rotated: usize,
    heads: Heads,
    grouped: bool,
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
        for (j, first) in (0..q_cols + 2 * kv_cols).step_by(head_dim).enumerate() {
            let x = &line[heads.place(j, grouped) * head_dim..][..head_dim];
            if first < q_cols {
                rotate(x, angles, &mut q[n * q_cols + first..][..head_dim]);
            } else if first < q_cols + kv_cols {
                rotate(x, angles, &mut k_cache[cell + first - q_cols..][..head_dim]);
            } else {
                v_cache[cell + first - q_cols - kv_cols..][..head_dim].copy_from_slice(x);
            }
        }
    }
}

/// y = x rotated, of one head; angles is [cos | sin], E long.
fn rotate(x: &[f32], angles: &[f32], y: &mut [f32]) {
    let e = angles.len();
    let (cos, sin) = angles.split_at(e / 2);
    for i in 0..e / 2 {
        let (a, b) = (x[i], x[i + e / 2]);
        y[i] = a * cos[i] - b * sin[i];
        y[i + e / 2] = b * cos[i] + a * sin[i];
    }
    y[e..].copy_from_slice(&x[e..]);
}
