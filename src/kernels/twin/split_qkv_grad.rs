//! Twin of `shaders/split_qkv_grad.wgsl`.

use crate::control::{INACTIVE, Row};

use super::split_qkv::Heads;

/// dqkv[n] = [dq rotated back | dK at [slot, pos] rotated back | dV at [slot, pos]]
///
/// rows (N, 4), dq (N, H·D), dk_cache and dv_cache (slots, S, K·D), rope (S, E) ->
/// dqkv (N, (H + 2K)·D). Inactive rows write nothing.
pub(crate) fn split_qkv_grad(
    rows: &[Row],
    dq: &[f32],
    dk_cache: &[f32],
    dv_cache: &[f32],
    rope: &[f32],
    rotated: usize,
    heads: Heads,
    dqkv: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim, s } = heads;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        let pos = row.pos as usize;
        let line = &mut dqkv[n * (q_cols + 2 * kv_cols)..][..q_cols + 2 * kv_cols];
        let angles = &rope[pos * rotated..][..rotated];
        let cell = (row.slot as usize * s + pos) * kv_cols;
        rotate_back(&dq[n * q_cols..][..q_cols], head_dim, angles, &mut line[..q_cols]);
        rotate_back(&dk_cache[cell..][..kv_cols], head_dim, angles, &mut line[q_cols..][..kv_cols]);
        line[q_cols + kv_cols..].copy_from_slice(&dv_cache[cell..][..kv_cols]);
    }
}

/// dx for y = x rotated head by head, the transpose of that rotation; angles is [cos | sin], E
/// long.
fn rotate_back(dy: &[f32], d: usize, angles: &[f32], dx: &mut [f32]) {
    let e = angles.len();
    let (cos, sin) = angles.split_at(e / 2);
    for (dy, dx) in dy.chunks_exact(d).zip(dx.chunks_exact_mut(d)) {
        for i in 0..e / 2 {
            let (a, b) = (dy[i], dy[i + e / 2]);
            dx[i] = a * cos[i] + b * sin[i];
            dx[i + e / 2] = b * cos[i] - a * sin[i];
        }
        dx[e..].copy_from_slice(&dy[e..]);
    }
}
