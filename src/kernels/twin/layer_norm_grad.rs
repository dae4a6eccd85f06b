//! Twin of `shaders/layer_norm_grad.wgsl`.

/// dx += s·(g − mean(g) − u·mean(g∘u)), with g = weight ∘ dy, s = 1 / √(var(x) + eps) and
/// u = s·(x − mean(x)), row by row
///
/// x (N, C), weight (C), dy (N, C) -> dx (N, C). Weight and bias are frozen.
pub(crate) fn layer_norm_grad(x: &[f32], weight: &[f32], dy: &[f32], eps: f32, dx: &mut [f32]) {
    let c = weight.len();
    for ((x, dy), dx) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c)) {
        let g = |i: usize| f64::from(weight[i]) * f64::from(dy[i]);
        let mean = |f: &dyn Fn(usize) -> f64| (0..c).map(f).sum::<f64>() / c as f64;
        let middle = mean(&|i| f64::from(x[i]));
        let variance = mean(&|i| (f64::from(x[i]) - middle).powi(2));
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        let unit = |i: usize| scale * (f64::from(x[i]) - middle);
        let (shift, slope) = (mean(&g), mean(&|i| g(i) * unit(i)));
        for i in 0..c {
            dx[i] = (f64::from(dx[i]) + scale * (g(i) - shift - unit(i) * slope)) as f32;
        }
    }
}
