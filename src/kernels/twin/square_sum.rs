//! Twin of `shaders/square_sum.wgsl`.

/// sum = Σ g²
pub(crate) fn square_sum(g: &[f32], sum: &mut f32) {
    *sum = g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32;
}
