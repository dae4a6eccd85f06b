//! Fast [`attention`](crate::twin::attention), in f32: query heads that read the same keys are computed
//! together; of a text's many rows, as matrix products.

use std::ops::Range;

use crate::control::{INACTIVE, Row};

use super::lanes::{add_four, add_scaled, capped, dots, exps};
use super::product::{Window, add_product};
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

/// Most rows computed together.
const TILE: usize = 16;
/// Rows for which keys are turned.
const MANY: usize = 4;
/// Keys turned at once.
const TURNED: usize = 64;

/// y = softmax(scale · q · Kᵀ) · V; see the twin.
pub(crate) fn attention(
    rows: &[Row],
    q: &[f32],
    k_cache: &[f32],
    v_cache: &[f32],
    heads: Heads,
    [scale, cap]: [f32; 2],
    window: usize,
    y: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim: d, s } = heads;
    let (mut scores, mut turned) = (Vec::new(), Vec::new());
    let mut n = 0;
    for rows in rows.chunk_by(|a, b| a.slot == b.slot).flat_map(|rows| rows.chunks(TILE)) {
        let (q, y) = (&q[n * q_cols..], &mut y[n * q_cols..]);
        n += rows.len();
        if rows[0].slot == INACTIVE {
            continue;
        }
        for kv_head in 0..kv_cols / d {
            let cache = |data| Cells {
                data,
                slot: rows[0].slot as usize * s,
                first: kv_head * d,
                stride: kv_cols,
                d,
            };
            let (k, v) = (cache(k_cache), cache(v_cache));
            let group = q_cols / kv_cols;
            let tile =
                Tile { rows, window, scale, cap, q_cols, heads: kv_head * group..(kv_head + 1) * group };
            if rows.len() < MANY {
                (0..rows.len()).for_each(|n| tile.row(n, q, k, v, &mut scores, y));
            } else {
                tile.all(q, k, v, [&mut scores, &mut turned], y);
            }
        }
    }
}

/// The keys or values of a head in a slot.
#[derive(Clone, Copy)]
struct Cells<'a> {
    data: &'a [f32],
    /// The slot's first position.
    slot: usize,
    first: usize,
    stride: usize,
    d: usize,
}

impl<'a> Cells<'a> {
    /// The cell of a position, (D).
    #[inline(always)]
    fn at(self, pos: usize) -> &'a [f32] {
        &self.data[(self.slot + pos) * self.stride + self.first..][..self.d]
    }

    /// The cells of four positions from `pos` on.
    #[inline(always)]
    fn four(self, pos: usize) -> [&'a [f32]; 4] {
        std::array::from_fn(|i| self.at(pos + i))
    }
}

/// Rows of one text and the query heads that read one head of keys.
struct Tile<'a> {
    rows: &'a [Row],
    window: usize,
    scale: f32,
    cap: f32,
    q_cols: usize,
    heads: Range<usize>,
}

impl Tile<'_> {
    /// One row.
    fn row(&self, n: usize, q: &[f32], k: Cells<'_>, v: Cells<'_>, scores: &mut Vec<f32>, y: &mut [f32]) {
        let keys = visible(&self.rows[n], self.window);
        let (len, d) = (keys.len(), k.d);
        let head = |h: usize| n * self.q_cols + h * d..n * self.q_cols + (h + 1) * d;
        scores.clear();
        scores.resize(self.heads.len() * len, 0.0);
        let fours = len - len % 4;
        for i in (0..fours).step_by(4) {
            let four = k.four(keys.start + i);
            for (h, scores) in self.heads.clone().zip(scores.chunks_exact_mut(len)) {
                let [dots] = dots([&q[head(h)]], four);
                scores[i..i + 4].copy_from_slice(&dots);
            }
        }
        for (h, scores) in self.heads.clone().zip(scores.chunks_exact_mut(len)) {
            for i in fours..len {
                [[scores[i]]] = dots([&q[head(h)]], [k.at(keys.start + i)]);
            }
            self.weigh(scores);
            y[head(h)].fill(0.0);
        }
        for i in (0..fours).step_by(4) {
            let four = v.four(keys.start + i);
            for (h, weights) in self.heads.clone().zip(scores.chunks_exact(len)) {
                add_four(&mut y[head(h)], [0, 1, 2, 3].map(|j| weights[i + j]), four);
            }
        }
        for (h, weights) in self.heads.clone().zip(scores.chunks_exact(len)) {
            (fours..len).for_each(|i| add_scaled(&mut y[head(h)], weights[i], v.at(keys.start + i)));
        }
    }

    /// All rows.
    fn all(
        &self,
        q: &[f32],
        k: Cells<'_>,
        v: Cells<'_>,
        [scores, turned]: [&mut Vec<f32>; 2],
        y: &mut [f32],
    ) {
        let (n, d, q_cols) = (self.rows.len(), k.d, self.q_cols);
        let seen = || self.rows.iter().map(|row| visible(row, self.window));
        let first = seen().map(|keys| keys.start).min().unwrap_or(0);
        let keys = first..seen().map(|keys| keys.end).max().unwrap_or(first);
        let len = keys.len();
        scores.clear();
        scores.resize(self.heads.len() * n * len, 0.0);
        turned.resize(d * TURNED, 0.0);
        for first in (0..len).step_by(TURNED) {
            let width = TURNED.min(len - first);
            for i in 0..width {
                let cell = k.at(keys.start + first + i);
                cell.iter().zip(turned.chunks_exact_mut(TURNED)).for_each(|(&x, line)| line[i] = x);
            }
            for (h, scores) in self.heads.clone().zip(scores.chunks_exact_mut(n * len)) {
                let q = Window { data: q, first: h * d, stride: q_cols };
                add_product(q, n, d, |k| &turned[k * TURNED..][..width], scores, first, len);
            }
        }
        for (h, scores) in self.heads.clone().zip(scores.chunks_exact_mut(n * len)) {
            for ((row, seen), scores) in seen().enumerate().zip(scores.chunks_exact_mut(len)) {
                let seen = seen.start - keys.start..seen.end - keys.start;
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                self.weigh(&mut scores[seen]);
                y[row * q_cols + h * d..][..d].fill(0.0);
            }
            let scores = Window { data: scores, first: 0, stride: len };
            add_product(scores, n, len, |i| v.at(keys.start + i), y, h * d, q_cols);
        }
    }

    /// Products of a query with keys -> weights of values.
    fn weigh(&self, scores: &mut [f32]) {
        scores.iter_mut().for_each(|score| *score = capped(*score * self.scale, self.cap));
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = exps(scores, most);
        scores.iter_mut().for_each(|score| *score /= total);
    }
}
