//! Fast [`attention`](crate::twin::attention), in f32: query heads that read the same keys are computed
//! together; of a text's many rows, as matrix products.

use crate::control::Row;

use super::lanes::{add_four, add_scaled, capped, dots, exps, largest};
use super::tile::{Tile, for_each_tile};
use crate::pool::{Pool, Shared};
use crate::twin::split_qkv::Heads;

/// Rows for which keys are turned.
const MANY: usize = 4;

/// y = softmax(scale · q · Kᵀ) · V; see the twin.
pub(crate) fn attention(
    pool: &Pool,
    rows: &[Row],
    q: &[f32],
    k_cache: &[f32],
    v_cache: &[f32],
    heads: Heads,
    [scale, cap]: [f32; 2],
    window: usize,
    y: &mut [f32],
) {
    let y = Shared::new(y);
    let weigh = |scores: &mut [f32]| {
        scores.iter_mut().for_each(|score| *score = capped(*score * scale, cap));
        let most = largest(scores);
        let total = exps(scores, most);
        scores.iter_mut().for_each(|score| *score /= total);
    };
    for_each_tile(pool, rows, heads, window, |tile, (scores, turned): &mut (Vec<f32>, Vec<f32>)| {
        if tile.rows.len() < MANY {
            // SAFETY: tiles have different rows or heads.
            (0..tile.rows.len())
                .for_each(|n| unsafe { one(tile, n, [q, k_cache, v_cache], weigh, scores, y) });
            return;
        }
        tile.dots(q, k_cache, turned, scores);
        let keys = tile.keys();
        let mut lines = scores.chunks_exact_mut(keys.len());
        for _ in tile.heads() {
            for (seen, scores) in tile.seen().zip(&mut lines) {
                let seen = seen.start - keys.start..seen.end - keys.start;
                weigh(&mut scores[seen]);
            }
        }
        // SAFETY: as before.
        unsafe { tile.mix(scores, v_cache, y) };
    });
}

/// One row of a tile.
///
/// # Safety
///
/// Nobody else uses what is the tile's of y.
unsafe fn one(
    tile: &Tile<'_>,
    n: usize,
    [q, k, v]: [&[f32]; 3],
    weigh: impl Fn(&mut [f32]),
    scores: &mut Vec<f32>,
    y: Shared<'_, f32>,
) {
    // SAFETY: as the caller says.
    let y = |h: usize| unsafe { y.slice(tile.head(n, h).start, tile.d()) };
    let keys = tile.seen().nth(n).expect("a row of the tile");
    let len = keys.len();
    scores.clear();
    scores.resize(tile.heads().len() * len, 0.0);
    let fours = len - len % 4;
    let four = |cache, i| -> [&[f32]; 4] {
        std::array::from_fn(|j| &(cache as &[f32])[tile.cell(keys.start + i + j)])
    };
    for i in (0..fours).step_by(4) {
        let four = four(k, i);
        for (h, scores) in tile.heads().zip(scores.chunks_exact_mut(len)) {
            let [dots] = dots([&q[tile.head(n, h)]], four);
            scores[i..i + 4].copy_from_slice(&dots);
        }
    }
    for (h, scores) in tile.heads().zip(scores.chunks_exact_mut(len)) {
        for i in fours..len {
            [[scores[i]]] = dots([&q[tile.head(n, h)]], [&k[tile.cell(keys.start + i)]]);
        }
        weigh(scores);
        y(h).fill(0.0);
    }
    for i in (0..fours).step_by(4) {
        let four = four(v, i);
        for (h, weights) in tile.heads().zip(scores.chunks_exact(len)) {
            add_four(y(h), [0, 1, 2, 3].map(|j| weights[i + j]), four);
        }
    }
    for (h, weights) in tile.heads().zip(scores.chunks_exact(len)) {
        (fours..len).for_each(|i| add_scaled(y(h), weights[i], &v[tile.cell(keys.start + i)]));
    }
}
