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
    grouped: bool,
    dqkv: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim, s } = heads;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        let pos = row.pos as usize;
        let line = &mut dqkv[n * (q_cols + 2 * kv_cols)..][..q_cols + 2 * kv_cols];
        let angles = &rope[pos * rotated..][..rotated];
        let cell = (row.slot as usize * s + pos) * kv_cols;
        for (j, first) in (0..q_cols + 2 * kv_cols).step_by(head_dim).enumerate() {
            let dx = &mut line[heads.place(j, grouped) * head_dim..][..head_dim];
            if first < q_cols {
                rotate_back(&dq[n * q_cols + first..][..head_dim], angles, dx);
            } else if first < q_cols + kv_cols {
                rotate_back(&dk_cache[cell + first - q_cols..][..head_dim], angles, dx);
            } else {
                dx.copy_from_slice(&dv_cache[cell + first - q_cols - kv_cols..][..head_dim]);
            }
        }
    }
}

/// dx for y = x rotated, of one head: the transpose of that rotation; angles is [cos | sin], E long.
fn rotate_back(dy: &[f32], angles: &[f32], dx: &mut [f32]) {
    let e = angles.len();
    let (cos, sin) = angles.split_at(e / 2);
    for i in 0..e / 2 {
        let (a, b) = (dy[i], dy[i + e / 2]);
        dx[i] = a * cos[i] + b * sin[i];
        dx[i + e / 2] = b * cos[i] - a * sin[i];
    }
    dx[e..].copy_from_slice(&dy[e..]);
}
