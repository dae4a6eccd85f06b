//! Twin of `shaders/attention_grad_q.wgsl`.

use crate::control::{INACTIVE, Row};

use super::attention::{capped, capped_slope, visible};
use super::split_qkv::Heads;

/// dq = scale · Σ p·(dp − Δ)·s'·K over the row's visible keys, head by head, where s = capped(scale · q · Kᵀ),
/// s' its slope by the product, p = softmax(s), dp = dy · Vᵀ and Δ = Σ p·dp
///
/// rows (N, 4), q and dy (N, H·D), k_cache and v_cache (slots, S, K·D) -> dq (N, H·D) and
/// stats (N, 2·H): per head the logarithm of the softmax' denominator, and Δ, which
/// [`attention_grad_kv`](super::attention_grad_kv) needs (arXiv:2205.14135, algorithm 4).
/// Inactive rows write nothing.
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
    let (group, [scale, cap]) = (q_cols / kv_cols, [scale, cap].map(f64::from));
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let head = n * q_cols + h * d;
            let cell = |pos: usize| (row.slot as usize * s + pos) * kv_cols + h / group * d;
            let keys = || visible(row, window).map(|pos| &k_cache[cell(pos)..][..d]);
            let values = visible(row, window).map(|pos| &v_cache[cell(pos)..][..d]);
            let scores: Vec<f64> = keys().map(|k| capped(scale * dot(&q[head..][..d], k), cap)).collect();
            let dp: Vec<f64> = values.map(|v| dot(&dy[head..][..d], v)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln();
            let p: Vec<f64> = scores.iter().map(|score| (score - log_sum).exp()).collect();
            let delta: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            let ds = p.iter().zip(&dp).zip(&scores);
            let ds: Vec<f64> = ds.map(|((p, dp), s)| p * (dp - delta) * capped_slope(*s, cap)).collect();
            for i in 0..d {
                let sum: f64 = ds.iter().zip(keys()).map(|(ds, k)| ds * f64::from(k[i])).sum();
                dq[head + i] = (scale * sum) as f32;
            }
            stats[2 * head / d..][..2].copy_from_slice(&[log_sum as f32, delta as f32]);
        }
    }
}

/// Σ a·b
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
