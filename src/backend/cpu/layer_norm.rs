//! Twin of `shaders/layer_norm.wgsl`.

/// y = (x − mean(x)) / √(var(x) + eps) · weight + bias, row by row (arXiv:1607.06450)
///
/// x (N, C), weight (C), bias (C) -> y (N, C). The variance is the biased one.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
    let c = weight.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / c as f64;
        let var = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / c as f64;
        let scale = 1.0 / (var + f64::from(eps)).sqrt();
        for i in 0..c {
            y[i] = ((f64::from(x[i]) - mean) * scale) as f32 * weight[i] + bias[i];
        }
    }
}
