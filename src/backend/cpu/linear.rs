//! Twin of `shaders/linear.wgsl` and `shaders/linear_vec.wgsl`.

/// Where the columns of one [`linear`] lie in y.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// First column written.
    pub first: usize,
    /// Columns of a row of y.
    pub stride: usize,
}

/// y[:, first..first + F] = x · Wᵀ (+ bias) (+ y)
///
/// x (N, C), weight (F, C), bias (stride) -> y (N, stride). With `accumulate` what y holds is
/// added.
pub fn linear(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    c: usize,
    columns: Columns,
    accumulate: bool,
    y: &mut [f32],
) {
    let first = columns.first;
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(columns.stride)) {
        for (f, w) in weight.chunks_exact(c).enumerate() {
            let dot: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            let bias = bias.map_or(0.0, |b| f64::from(b[first + f]));
            let held = if accumulate { f64::from(y[first + f]) } else { 0.0 };
            y[first + f] = (dot + bias + held) as f32;
        }
    }
}
