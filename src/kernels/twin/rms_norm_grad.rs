//! Twin of `shaders/rms_norm_grad.wgsl`.

/// dx += s·(g − x·s²·mean(x∘g)), with g = weight ∘ dy and s = 1 / √(mean(x²) + eps), row by row
///
/// x (N, C), weight (C), dy (N, C) -> dx (N, C). The weight is frozen.
pub(crate) fn rms_norm_grad(x: &[f32], weight: &[f32], dy: &[f32], eps: f32, dx: &mut [f32]) {
    let c = weight.len();
    for ((x, dy), dx) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c)) {
        let g = |i: usize| f64::from(weight[i]) * f64::from(dy[i]);
        let mean = |f: &dyn Fn(usize) -> f64| (0..c).map(f).sum::<f64>() / c as f64;
        let scale = 1.0 / (mean(&|i| f64::from(x[i]).powi(2)) + f64::from(eps)).sqrt();
        let slope = mean(&|i| f64::from(x[i]) * g(i)) * scale.powi(2);
        for i in 0..c {
            dx[i] = (f64::from(dx[i]) + scale * (g(i) - f64::from(x[i]) * slope)) as f32;
        }
    }
}
