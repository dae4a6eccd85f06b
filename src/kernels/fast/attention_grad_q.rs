//! Fast [`attention_grad_q`](crate::twin::attention_grad_q), in f32.

use crate::control::Row;

use super::lanes::{capped, capped_slope, exps, largest};
use super::tile::for_each_tile;
use crate::pool::{Pool, Shared};
use crate::twin::split_qkv::Heads;

/// dq = scale · Σ p·(dp − Δ)·K, and the softmax' statistics; see the twin.
pub(crate) fn attention_grad_q(
    pool: &Pool,
    rows: &[Row],
    q: &[f32],
    k_cache: &[f32],
    v_cache: &[f32],
    dy: &[f32],
    heads: Heads,
    [scale, cap]: [f32; 2],
    window: usize,
    dq: &mut [f32],
    stats: &mut [f32],
) {
    let (dq, stats) = (Shared::new(dq), Shared::new(stats));
    for_each_tile(pool, rows, heads, window, |tile, space: &mut [Vec<f32>; 4]| {
        let [scores, dp, slopes, turned] = space;
        tile.dots(q, k_cache, turned, scores);
        tile.dots(dy, v_cache, turned, dp);
        let keys = tile.keys();
        let mut lines = scores.chunks_exact_mut(keys.len()).zip(dp.chunks_exact(keys.len()));
        for h in tile.heads() {
            for ((row, seen), (scores, dp)) in tile.seen().enumerate().zip(&mut lines) {
                let seen = seen.start - keys.start..seen.end - keys.start;
                let (scores, dp) = (&mut scores[seen.clone()], &dp[seen]);
                scores.iter_mut().for_each(|score| *score = capped(scale * *score, cap));
                slopes.clear();
                slopes.extend(scores.iter().map(|&score| scale * capped_slope(score, cap)));
                let most = largest(scores);
                let total = exps(scores, most);
                scores.iter_mut().for_each(|p| *p /= total);
                let delta: f32 = scores.iter().zip(dp).map(|(p, dp)| p * dp).sum();
                scores
                    .iter_mut()
                    .zip(dp)
                    .zip(&*slopes)
                    .for_each(|((p, dp), slope)| *p *= slope * (dp - delta));
                let at = 2 * tile.head(row, h).start / tile.d();
                // SAFETY: tiles have different rows or heads.
                unsafe { stats.slice(at, 2) }.copy_from_slice(&[most + total.ln(), delta]);
            }
        }
        // SAFETY: as before.
        unsafe { tile.mix(scores, k_cache, dq) };
    });
}
