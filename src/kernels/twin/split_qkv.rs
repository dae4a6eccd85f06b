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

/// How queries grow with their positions: at p by the factor 1 + `beta` · ln(1 + ⌊p / `every`⌋), as transformers'
/// `ministral3` has them. The default is no growth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// β
    pub beta: f32,
    /// Positions that grow alike, at least 1.
    pub every: u32,
}

impl Default for Growth {
    fn default() -> Self {
        Self { beta: 0.0, every: 1 }
    }
}

/// How heads of q and k are rotated by their positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation<'a> {
    /// (S, E) = [cos | sin]
    pub(crate) table: &'a [f32],
    /// E
    pub(crate) cols: usize,
    /// Whether elements 2i and 2i + 1 make a pair, and not i and i + E/2
    pub(crate) neighbours: bool,
    /// Of queries
    pub(crate) growth: Growth,
}

impl Rotation<'_> {
    /// What queries at a position are multiplied by.
    pub(crate) fn factor(&self, pos: usize) -> f32 {
        let Growth { beta, every } = self.growth;
        1.0 + beta * (1.0 + (pos / every as usize) as f32).ln()
    }

    /// y = x rotated by ±1 times the angles of a position, of one head.
    pub(crate) fn rotate(&self, x: &[f32], pos: usize, sign: f32, y: &mut [f32]) {
        let e = self.cols;
        let (cos, sin) = self.table[pos * e..][..e].split_at(e / 2);
        for (i, (&cos, &sin)) in cos.iter().zip(sin).enumerate() {
            let (first, second) = if self.neighbours { (2 * i, 2 * i + 1) } else { (i, i + e / 2) };
            let (a, b, sin) = (x[first], x[second], sign * sin);
            y[first] = a * cos - b * sin;
            y[second] = b * cos + a * sin;
        }
        y[e..].copy_from_slice(&x[e..]);
    }
}

/// Parts each row of qkv: q rotated to `q`, k rotated and v into the cache at [slot, pos].
///
/// rows (N, 4), qkv (N, (H + 2K)·D) -> q (N, H·D), k_cache and v_cache (slots, S, K·D); [`Heads::place`] says where a
/// head is. Of the first E elements of a head, the pairs (i, i + E/2) are rotated, as transformers' `rotate_half` has
/// them (arXiv:2104.09864), or neighbours; the others pass. Inactive rows write nothing.
pub(crate) fn split_qkv(
    rows: &[Row],
    qkv: &[f32],
    rotation: Rotation,
    heads: Heads,
    grouped: bool,
    q: &mut [f32],
    k_cache: &mut [f32],
    v_cache: &mut [f32],
) {
    let Heads { q_cols, kv_cols, s, .. } = heads;
    let cols = q_cols + 2 * kv_cols;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        let pos = row.pos as usize;
        let cell = (row.slot as usize * s + pos) * kv_cols;
        let [k, v] = [&mut *k_cache, &mut *v_cache].map(|cache| &mut cache[cell..][..kv_cols]);
        split_row(
            &qkv[n * cols..][..cols],
            pos,
            rotation,
            heads,
            grouped,
            &mut q[n * q_cols..][..q_cols],
            k,
            v,
        );
    }
}

/// The same of one row at a position: line ((H + 2K)·D) -> q (H·D), k and v (K·D)
pub(crate) fn split_row(
    line: &[f32],
    pos: usize,
    rotation: Rotation,
    heads: Heads,
    grouped: bool,
    q: &mut [f32],
    k: &mut [f32],
    v: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim, .. } = heads;
    let factor = rotation.factor(pos);
    for (j, first) in (0..q_cols + 2 * kv_cols).step_by(head_dim).enumerate() {
        let x = &line[heads.place(j, grouped) * head_dim..][..head_dim];
        if first < q_cols {
            let q = &mut q[first..][..head_dim];
            rotation.rotate(x, pos, 1.0, q);
            q.iter_mut().for_each(|q| *q *= factor);
        } else if first < q_cols + kv_cols {
            rotation.rotate(x, pos, 1.0, &mut k[first - q_cols..][..head_dim]);
        } else {
            v[first - q_cols - kv_cols..][..head_dim].copy_from_slice(x);
        }
    }
}
