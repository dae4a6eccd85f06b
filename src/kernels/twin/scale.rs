//! Twin of `shaders/scale.wgsl`.

/// y = scale · x (+ y)
///
/// x (N, C) -> y (N, C).
pub(crate) fn scale(x: &[f32], scale: f32, accumulate: bool, y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        let before = if accumulate { f64::from(*y) } else { 0.0 };
        *y = (before + f64::from(scale) * f64::from(*x)) as f32;
    }
}
