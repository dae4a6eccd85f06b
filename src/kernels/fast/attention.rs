//! Fast [`attention`](crate::twin::attention): keys and values are walked once per
//! query head, in f32.

use crate::control::{INACTIVE, Row};

use super::lanes::{add_scaled, capped, dots};
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

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
    let group = q_cols / kv_cols;
    let mut scores = Vec::new();
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let at = |pos: usize| (row.slot as usize * s + pos) * kv_cols + h / group * d;
            let q = &q[n * q_cols + h * d..][..d];
            scores.clear();
            scores.extend(visible(row, window).map(|pos| {
                let [[dot]] = dots([q], [&k_cache[at(pos)..][..d]]);
                capped(dot * scale, cap)
            }));
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - most).exp());
            let total: f32 = scores.iter().sum();
            let y = &mut y[n * q_cols + h * d..][..d];
            y.fill(0.0);
            for (pos, weight) in visible(row, window).zip(&scores) {
                add_scaled(y, weight / total, &v_cache[at(pos)..][..d]);
            }
        }
    }
}
