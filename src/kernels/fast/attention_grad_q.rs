//! Fast [`attention_grad_q`](crate::twin::attention_grad_q), in f32.

use crate::control::{INACTIVE, Row};

use super::lanes::{add_scaled, capped, capped_slope, dots};
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

/// dq = scale · Σ p·(dp − Δ)·K, and the softmax' statistics; see the twin.
pub(crate) fn attention_grad_q(
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
    let Heads { q_cols, kv_cols, head_dim: d, s } = heads;
    let group = q_cols / kv_cols;
    let (mut scores, mut dp, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let head = n * q_cols + h * d;
            let cell = |pos: usize| (row.slot as usize * s + pos) * kv_cols + h / group * d;
            let dot = |x: &[f32], cache: &[f32], pos: usize| dots([x], [&cache[cell(pos)..][..d]])[0][0];
            scores.clear();
            scores.extend(
                visible(row, window).map(|pos| capped(scale * dot(&q[head..][..d], k_cache, pos), cap)),
            );
            slopes.clear();
            slopes.extend(scores.iter().map(|&score| scale * capped_slope(score, cap)));
            dp.clear();
            dp.extend(visible(row, window).map(|pos| dot(&dy[head..][..d], v_cache, pos)));
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let log_sum = most + scores.iter().map(|score| (score - most).exp()).sum::<f32>().ln();
            scores.iter_mut().for_each(|score| *score = (*score - log_sum).exp());
            let delta: f32 = scores.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            let dq = &mut dq[head..][..d];
            dq.fill(0.0);
            for (pos, ((p, dp), slope)) in visible(row, window).zip(scores.iter().zip(&dp).zip(&slopes)) {
                add_scaled(dq, slope * p * (dp - delta), &k_cache[cell(pos)..][..d]);
            }
            stats[2 * head / d..][..2].copy_from_slice(&[log_sum, delta]);
        }
    }
}
