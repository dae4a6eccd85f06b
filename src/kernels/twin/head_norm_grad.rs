//! Twin of `shaders/head_norm_grad.wgsl`.

use super::rms_norm_grad::rms_norm_grad;

/// dx of q and k ← dx · d head_norm / dqkv, head by head; dx of v stays.
///
/// qkv (N, (H + 2K)·D) = [q | k | v], weights (D) of q and of k, norms of each (H, K) -> dx, like qkv. The
/// weights are frozen.
pub(crate) fn head_norm_grad(
    qkv: &[f32],
    weights: [&[f32]; 2],
    [h, k]: [usize; 2],
    eps: f32,
    dx: &mut [f32],
) {
    let [q, k] = [h * weights[0].len(), k * weights[1].len()];
    let row = q + 2 * k;
    for (x, dx) in qkv.chunks_exact(row).zip(dx.chunks_exact_mut(row)) {
        for (weight, part) in weights.into_iter().zip([0..q, q..q + k]) {
            let dy = dx[part.clone()].to_vec();
            dx[part.clone()].fill(0.0);
            rms_norm_grad(&x[part.clone()], weight, &dy, eps, &mut dx[part]);
        }
    }
}
