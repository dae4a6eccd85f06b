//! Twin of `shaders/attention.wgsl`.

use crate::control::{INACTIVE, Row, SPAN};

use super::split_qkv::Heads;

/// The keys a row sees: 0..=pos, or the last `window` of them, or from the one that it names on.
pub(crate) fn visible(row: &Row, window: usize) -> std::ops::Range<usize> {
    let end = row.pos as usize + 1;
    match window {
        0 => 0..end,
        SPAN => row.token as usize..end,
        window => end.saturating_sub(window)..end,
    }
}

/// cap · tanh(s / cap), or s where `cap` is 0 (arXiv:2408.00118, 2.2)
pub(crate) fn capped(s: f64, cap: f64) -> f64 {
    if cap == 0.0 { s } else { cap * (s / cap).tanh() }
}

/// d capped / ds, by its value y
pub(crate) fn capped_slope(y: f64, cap: f64) -> f64 {
    if cap == 0.0 { 1.0 } else { 1.0 - (y / cap).powi(2) }
}

/// y = softmax(capped(scale · q · Kᵀ)) · V over the row's visible keys, head by head
///
/// rows (N, 4), q (N, H·D), k_cache and v_cache (slots, S, K·D) -> y (N, H·D). Query head h
/// reads key head h / (H/K). Inactive rows write nothing.
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
    let group = q_cols / kv_cols;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let q = &q[n * q_cols + h * d..][..d];
            let at = |pos: usize| (row.slot as usize * s + pos) * kv_cols + h / group * d;
            let scores: Vec<f64> = visible(row, window)
                .map(|pos| {
                    let k = &k_cache[at(pos)..][..d];
                    let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                    capped(dot * f64::from(scale), f64::from(cap))
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..d {
                let sum: f64 = visible(row, window)
                    .zip(&weights)
                    .map(|(pos, w)| w * f64::from(v_cache[at(pos) + i]))
                    .sum();
                y[n * q_cols + h * d + i] = (sum / total) as f32;
            }
        }
    }
}
