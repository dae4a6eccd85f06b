//! Fast [`attention_grad_kv`](crate::twin::attention_grad_kv), in f32.

use crate::control::{INACTIVE, Row};

use super::lanes::{add_scaled, capped, capped_slope, dots};
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

/// dK[pos] += scale · Σ p·(dp − Δ)·q and dV[pos] += Σ p·dy; see the twin.
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
    let Heads { q_cols, kv_cols, head_dim: d, s } = heads;
    let group = q_cols / kv_cols;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        for h in 0..q_cols / d {
            let head = n * q_cols + h * d;
            let (q, dy) = (&q[head..][..d], &dy[head..][..d]);
            let [log_sum, delta] = [0, 1].map(|i| stats[2 * head / d + i]);
            for pos in visible(row, window) {
                let cell = (row.slot as usize * s + pos) * kv_cols + h / group * d;
                let [[score]] = dots([q], [&k_cache[cell..][..d]]);
                let [[dp]] = dots([dy], [&v_cache[cell..][..d]]);
                let score = capped(scale * score, cap);
                let (p, slope) = ((score - log_sum).exp(), scale * capped_slope(score, cap));
                add_scaled(&mut dk_cache[cell..][..d], slope * p * (dp - delta), q);
                add_scaled(&mut dv_cache[cell..][..d], p, dy);
            }
        }
    }
}
