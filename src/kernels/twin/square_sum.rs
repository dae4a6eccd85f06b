//! Twin of `shaders/square_sum.wgsl`.

/// sums[i] = Σ g² over the i-th part of g, of as many equal parts as there are sums
pub(crate) fn square_sum(g: &[f32], sums: &mut [f32]) {
    let mut parts = g.chunks(g.len().div_ceil(sums.len()));
    for sum in sums {
        let part = parts.next().unwrap_or_default();
        *sum = part.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32;
    }
}
