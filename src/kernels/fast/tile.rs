//! Rows of one text and the query heads that read one head of keys: what attention and its ways back compute
//! together.

use std::ops::Range;

use crate::control::{INACTIVE, Row};

use super::product::{Window, add_product};
use crate::pool::{Pool, Shared};
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

/// The tiles of the active rows, of all heads of keys each.
fn tiles(rows: &[Row], sizes: Heads, window: usize) -> Vec<Tile<'_>> {
    let (mut first, mut tiles) = (0, Vec::new());
    for rows in rows.chunk_by(|a, b| a.slot == b.slot).flat_map(|rows| rows.chunks(ROWS)) {
        if rows[0].slot != INACTIVE {
            let heads = 0..sizes.kv_cols / sizes.head_dim;
            tiles.extend(heads.map(|kv_head| Tile { rows, first, window, sizes, kv_head }));
        }
        first += rows.len();
    }
    tiles
}

/// Calls `body` for each tile, with what of its memory is of use to the next; on any thread.
pub(super) fn for_each_tile<S: Default>(
    pool: &Pool,
    rows: &[Row],
    sizes: Heads,
    window: usize,
    body: impl Fn(&Tile<'_>, &mut S) + Sync,
) {
    let tiles = tiles(rows, sizes, window);
    pool.split(tiles.len(), 1, work(&tiles), |part| {
        let mut space = S::default();
        tiles[part].iter().for_each(|tile| body(tile, &mut space));
    });
}

/// The same for what adds to keys: those of a head are added to on one thread, in the order of the rows.
pub(super) fn for_each_tile_of_keys<S: Default>(
    pool: &Pool,
    rows: &[Row],
    sizes: Heads,
    window: usize,
    body: impl Fn(&Tile<'_>, &mut S) + Sync,
) {
    let tiles = tiles(rows, sizes, window);
    let heads = sizes.kv_cols / sizes.head_dim;
    pool.split(heads, 1, work(&tiles), |part| {
        let mut space = S::default();
        part.for_each(|head| tiles.iter().skip(head).step_by(heads).for_each(|tile| body(tile, &mut space)));
    });
}

/// Multiplications of scores and of what is mixed by them.
fn work(tiles: &[Tile<'_>]) -> usize {
    tiles.iter().map(|tile| 2 * tile.heads().len() * tile.rows.len() * tile.keys().len() * tile.d()).sum()
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
                let (x, scores) = (self.window(x, h), Shared::new(scores));
                // SAFETY: nobody else has them.
                unsafe { add_product(x, n, d, |k| &turned[k * TURNED..][..width], scores, first, len) };
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
    ///
    /// # Safety
    ///
    /// Nobody else uses what is the tile's of y.
    pub(super) unsafe fn mix(&self, weights: &[f32], cache: &[f32], y: Shared<'_, f32>) {
        let (n, keys) = (self.rows.len(), self.keys());
        let len = keys.len();
        for (h, weights) in self.heads().zip(weights.chunks_exact(n * len)) {
            let weights = Window { data: weights, first: 0, stride: len };
            let (first, stride) = (self.head(0, h).start, self.sizes.q_cols);
            // SAFETY: as the caller says.
            unsafe {
                (0..n).for_each(|row| y.slice(first + row * stride, self.d()).fill(0.0));
                add_product(weights, n, len, |i| &cache[self.cell(keys.start + i)], y, first, stride);
            }
        }
    }

    /// y[pos] += Σ weights[i, n] · x[n, h], for the keys i of a query head
    ///
    /// # Safety
    ///
    /// Nobody else uses what is y's for the tile's head of keys.
    pub(super) unsafe fn spread(&self, weights: &[f32], x: &[f32], head: usize, y: Shared<'_, f32>) {
        let (n, keys) = (self.rows.len(), self.keys());
        let weights = Window { data: weights, first: 0, stride: n };
        let (first, stride) = (self.cell(keys.start).start, self.sizes.kv_cols);
        // SAFETY: as the caller says.
        unsafe { add_product(weights, keys.len(), n, |row| &x[self.head(row, head)], y, first, stride) };
    }
}
