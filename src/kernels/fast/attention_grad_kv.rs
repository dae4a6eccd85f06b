//! Fast [`attention_grad_kv`](crate::twin::attention_grad_kv), in f32.

use crate::control::Row;

use super::lanes::{capped, capped_slope, exps};
use super::tile::for_each_tile_of_keys;
use crate::pool::{Pool, Shared};
use crate::twin::split_qkv::Heads;

/// dK[pos] += scale · Σ p·(dp − Δ)·q and dV[pos] += Σ p·dy; see the twin.
pub(crate) fn attention_grad_kv(
    pool: &Pool,
    rows: &[Row],
    q: &[f32],
    k_cache: &[f32],
    v_cache: &[f32],
    dy: &[f32],
    stats: &[f32],
    heads: Heads,
    [scale, cap]: [f32; 2],
    window: usize,
    dk_cache: &mut [f32],
    dv_cache: &mut [f32],
) {
    let (dk_cache, dv_cache) = (Shared::new(dk_cache), Shared::new(dv_cache));
    for_each_tile_of_keys(pool, rows, heads, window, |tile, space: &mut [Vec<f32>; 4]| {
        let [scores, dp, slopes, turned] = space;
        tile.dots(q, k_cache, turned, scores);
        tile.dots(dy, v_cache, turned, dp);
        let (n, keys) = (tile.rows.len(), tile.keys());
        let len = keys.len();
        for (h, (scores, dp)) in
            tile.heads().zip(scores.chunks_exact_mut(n * len).zip(dp.chunks_exact_mut(n * len)))
        {
            for ((row, seen), (scores, dp)) in
                tile.seen().enumerate().zip(scores.chunks_exact_mut(len).zip(dp.chunks_exact_mut(len)))
            {
                let at = 2 * tile.head(row, h).start / tile.d();
                let (log_sum, delta) = (stats[at], stats[at + 1]);
                let seen = seen.start - keys.start..seen.end - keys.start;
                let (scores, dp) = (&mut scores[seen.clone()], &mut dp[seen]);
                scores.iter_mut().for_each(|score| *score = capped(scale * *score, cap));
                slopes.clear();
                slopes.extend(scores.iter().map(|&score| scale * capped_slope(score, cap)));
                exps(scores, log_sum);
                dp.iter_mut()
                    .zip(&*scores)
                    .zip(&*slopes)
                    .for_each(|((dp, p), slope)| *dp = slope * p * (*dp - delta));
            }
            turned.resize(n * len, 0.0);
            for (weights, x, y) in [(&*dp, q, dk_cache), (&*scores, dy, dv_cache)] {
                for (row, line) in weights.chunks_exact(len).enumerate() {
                    turned[row..].iter_mut().step_by(n).zip(line).for_each(|(to, from)| *to = *from);
                }
                // SAFETY: heads of keys are one thread's each.
                unsafe { tile.spread(&turned[..n * len], x, h, y) };
            }
        }
    });
}
