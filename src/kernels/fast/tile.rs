//! Rows of one text and the query heads that read one head of keys: what attention and its ways back compute
//! together.

use std::ops::Range;

use crate::control::{INACTIVE, Row};

use super::product::{Window, add_product};
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

/// Most rows of a tile.
const ROWS: usize = 16;
/// Keys turned at once.
const TURNED: usize = 64;

/// Some rows of a slot, and the query heads of a head of keys.
pub(super) struct Tile<'a> {
    pub(super) rows: &'a [Row],
    /// The first of the rows.
    first: usize,
    window: usize,
    sizes: Heads,
    kv_head: usize,
}

/// Calls `body` for each tile of the active rows, and each head of keys.
pub(super) fn for_each_tile(rows: &[Row], sizes: Heads, window: usize, mut body: impl FnMut(Tile<'_>)) {
    let mut first = 0;
    for rows in rows.chunk_by(|a, b| a.slot == b.slot).flat_map(|rows| rows.chunks(ROWS)) {
        if rows[0].slot != INACTIVE {
            for kv_head in 0..sizes.kv_cols / sizes.head_dim {
                body(Tile { rows, first, window, sizes, kv_head });
            }
        }
        first += rows.len();
    }
}

impl<'a> Tile<'a> {
    /// D
    pub(super) fn d(&self) -> usize {
        self.sizes.head_dim
    }

    /// Query heads.
    pub(super) fn heads(&self) -> Range<usize> {
        let group = self.sizes.q_cols / self.sizes.kv_cols;
        self.kv_head * group..(self.kv_head + 1) * group
    }

    /// The positions that each row sees.
    pub(super) fn seen(&self) -> impl Iterator<Item = Range<usize>> {
        self.rows.iter().map(|row| visible(row, self.window))
    }

    /// The positions that any row sees.
    pub(super) fn keys(&self) -> Range<usize> {
        let first = self.seen().map(|keys| keys.start).min().unwrap_or(0);
        first..self.seen().map(|keys| keys.end).max().unwrap_or(first)
    }

    /// Where a query head of a row lies in q and what has its shape.
    pub(super) fn head(&self, row: usize, head: usize) -> Range<usize> {
        let at = (self.first + row) * self.sizes.q_cols + head * self.d();
        at..at + self.d()
    }

    /// A query head of all rows.
    pub(super) fn window<'b>(&self, x: &'b [f32], head: usize) -> Window<'b> {
        Window { data: &x[self.head(0, head).start..], first: 0, stride: self.sizes.q_cols }
    }

    /// Where the head of keys lies in a cache at a position.
    pub(super) fn cell(&self, pos: usize) -> Range<usize> {
        let Heads { kv_cols, s, .. } = self.sizes;
        let at = (self.rows[0].slot as usize * s + pos) * kv_cols + self.kv_head * self.d();
        at..at + self.d()
    }

    /// scores[h, n, i] = x[n, h] · cache[keys.start + i], for all heads and rows; 0 for keys that a row does not see
    pub(super) fn dots(&self, x: &[f32], cache: &[f32], turned: &mut Vec<f32>, scores: &mut Vec<f32>) {
        let (n, d, keys) = (self.rows.len(), self.d(), self.keys());
        let len = keys.len();
        scores.clear();
        scores.resize(self.heads().len() * n * len, 0.0);
        turned.resize(d * TURNED, 0.0);
        for first in (0..len).step_by(TURNED) {
            let width = TURNED.min(len - first);
            for i in 0..width {
                let cell = &cache[self.cell(keys.start + first + i)];
                cell.iter().zip(turned.chunks_exact_mut(TURNED)).for_each(|(&x, line)| line[i] = x);
            }
            for (h, scores) in self.heads().zip(scores.chunks_exact_mut(n * len)) {
                add_product(self.window(x, h), n, d, |k| &turned[k * TURNED..][..width], scores, first, len);
            }
        }
        for scores in scores.chunks_exact_mut(n * len) {
            for (seen, scores) in self.seen().zip(scores.chunks_exact_mut(len)) {
                scores[..seen.start - keys.start].fill(0.0);
                scores[seen.end - keys.start..].fill(0.0);
            }
        }
    }

    /// y[n, h] = Σ weights[h, n, i] · cache[keys.start + i]
    pub(super) fn mix(&self, weights: &[f32], cache: &[f32], y: &mut [f32]) {
        let (n, keys) = (self.rows.len(), self.keys());
        let len = keys.len();
        for (h, weights) in self.heads().zip(weights.chunks_exact(n * len)) {
            (0..n).for_each(|row| y[self.head(row, h)].fill(0.0));
            let weights = Window { data: weights, first: 0, stride: len };
            let y = &mut y[self.head(0, h).start..];
            add_product(weights, n, len, |i| &cache[self.cell(keys.start + i)], y, 0, self.sizes.q_cols);
        }
    }

    /// y[pos] += Σ weights[i, n] · x[n, h], for the keys i of a query head
    pub(super) fn spread(&self, weights: &[f32], x: &[f32], head: usize, y: &mut [f32]) {
        let (n, keys) = (self.rows.len(), self.keys());
        let weights = Window { data: weights, first: 0, stride: n };
        let y = &mut y[self.cell(keys.start).start..];
        add_product(weights, keys.len(), n, |row| &x[self.head(row, head)], y, 0, self.sizes.kv_cols);
    }
}
