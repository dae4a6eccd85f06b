//! Twin of `shaders/norm.wgsl`; its shrink is that of `shrink.rs`.

/// y = x̂ · weight (+ bias), row by row, where x̂ = x / √(mean(x²) + eps) (arXiv:1910.07467) or,
/// `centred`, (x − mean(x)) / √(var(x) + eps) (arXiv:1607.06450)
///
/// x (N, C), weight (C), bias (C) -> y (N, C). The variance is the biased one. Where the mean
/// square is past f32, y is no number: 1/√∞ would hide that x is wrong.
pub fn norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, centred: bool, y: &mut [f32]) {
    let c = weight.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let mean = if centred { x.iter().map(|&x| f64::from(x)).sum::<f64>() / c as f64 } else { 0.0 };
        let square = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / c as f64;
        let is_past_f32 = (square * c as f64) as f32 == f32::INFINITY;
        let scale = if is_past_f32 { f64::INFINITY } else { 1.0 / (square + f64::from(eps)).sqrt() };
        for i in 0..c {
            y[i] = ((f64::from(x[i]) - mean) * scale) as f32 * weight[i] + bias.map_or(0.0, |bias| bias[i]);
        }
    }
}
