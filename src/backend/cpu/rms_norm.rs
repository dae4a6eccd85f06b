//! Twin of `shaders/rms_norm.wgsl`.

/// y = x / √(mean(x²) + eps) · weight, row by row (arXiv:1910.07467)
///
/// x (N, C), weight (C) -> y (N, C).
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let c = weight.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let sum: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = 1.0 / (sum / c as f64 + f64::from(eps)).sqrt();
        for i in 0..c {
            y[i] = (f64::from(x[i]) * scale) as f32 * weight[i];
        }
    }
}
