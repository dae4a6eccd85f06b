//! Twin of `shaders/head_norm.wgsl`.

use super::norm::norm;

/// y = qkv, each head of q and of k normed by itself (arXiv:1910.07467).
///
/// qkv (N, (H + 2K)·D) = [q | k | v], weights (D) of q and of k, norms of each (H, K) -> y, like qkv.
pub(crate) fn head_norm(qkv: &[f32], weights: [&[f32]; 2], [h, k]: [usize; 2], eps: f32, y: &mut [f32]) {
    let [q, k] = [h * weights[0].len(), k * weights[1].len()];
    let row = q + 2 * k;
    for (x, y) in qkv.chunks_exact(row).zip(y.chunks_exact_mut(row)) {
        y.copy_from_slice(x);
        for (weight, part) in weights.into_iter().zip([0..q, q..q + k]) {
            norm(&x[part.clone()], weight, None, eps, false, &mut y[part]);
        }
    }
}
