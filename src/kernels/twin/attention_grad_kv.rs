//! Twin of `shaders/attention_grad_kv.wgsl`.

use crate::control::{INACTIVE, Row};

use super::attention::{capped, capped_slope, visible};
use super::attention_grad_q::dot;
use super::split_qkv::Heads;

/// dK[pos] += scale · Σ p·(dp − Δ)·s'·q and dV[pos] += Σ p·dy, over the rows that see `pos` and the
/// query heads that share the key head; s' is the slope of the capped score
///
/// rows (N, 4), q and dy (N, H·D), k_cache and v_cache (slots, S, K·D), stats (N, 2·H), see
/// [`attention_grad_q`](super::attention_grad_q) -> dk_cache and dv_cache (slots, S, K·D).
pub(crate) fn attention_grad_kv(
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
    let Heads { q_cols, kv_cols, head_dim: d, .. } = heads;
    let (group, [scale, cap]) = (q_cols / kv_cols, [scale, cap].map(f64::from));
    // In f64 until every row has added its share.
    let (mut dk, mut dv) = (vec![0.0; dk_cache.len()], vec![0.0; dv_cache.len()]);
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let head = n * q_cols + h * d;
            let (q, dy) = (&q[head..][..d], &dy[head..][..d]);
            let [log_sum, delta] = [0, 1].map(|i| f64::from(stats[2 * head / d + i]));
            for pos in visible(row, window) {
                let cell = (row.slot as usize * heads.s + pos) * kv_cols + h / group * d;
                let score = capped(scale * dot(q, &k_cache[cell..][..d]), cap);
                let p = (score - log_sum).exp();
                let ds = p * (dot(dy, &v_cache[cell..][..d]) - delta) * capped_slope(score, cap);
                for i in 0..d {
                    dk[cell + i] += scale * ds * f64::from(q[i]);
                    dv[cell + i] += p * f64::from(dy[i]);
                }
            }
        }
    }
    for (cache, sums) in [(dk_cache, dk), (dv_cache, dv)] {
        cache.iter_mut().zip(sums).for_each(|(cell, sum)| *cell = (f64::from(*cell) + sum) as f32);
    }
}
