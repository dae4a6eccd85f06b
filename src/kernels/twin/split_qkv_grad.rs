//! Twin of `shaders/split_qkv_grad.wgsl`.

use crate::control::{INACTIVE, Row};

use super::split_qkv::{Heads, Rotation};

/// dqkv[n] = [dq rotated back | dK at [slot, pos] rotated back | dV at [slot, pos]]
///
/// rows (N, 4), dq (N, H·D), dk_cache and dv_cache (slots, S, K·D) -> dqkv (N, (H + 2K)·D).
/// Inactive rows write nothing.
pub(crate) fn split_qkv_grad(
    rows: &[Row],
    dq: &[f32],
    dk_cache: &[f32],
    dv_cache: &[f32],
    rotation: Rotation,
    heads: Heads,
    grouped: bool,
    dqkv: &mut [f32],
) {
    let Heads { q_cols, kv_cols, head_dim, s } = heads;
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.slot != INACTIVE) {
        let pos = row.pos as usize;
        let line = &mut dqkv[n * (q_cols + 2 * kv_cols)..][..q_cols + 2 * kv_cols];
        let factor = rotation.factor(pos);
        let cell = (row.slot as usize * s + pos) * kv_cols;
        for (j, first) in (0..q_cols + 2 * kv_cols).step_by(head_dim).enumerate() {
            let dx = &mut line[heads.place(j, grouped) * head_dim..][..head_dim];
            if first < q_cols {
                rotation.rotate(&dq[n * q_cols + first..][..head_dim], pos, -1.0, dx);
                dx.iter_mut().for_each(|dx| *dx *= factor);
            } else if first < q_cols + kv_cols {
                rotation.rotate(&dk_cache[cell + first - q_cols..][..head_dim], pos, -1.0, dx);
            } else {
                dx.copy_from_slice(&dv_cache[cell + first - q_cols - kv_cols..][..head_dim]);
            }
        }
    }
}
