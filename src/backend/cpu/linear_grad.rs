//! Twin of `shaders/linear_grad.wgsl`.

use super::linear::Columns;
use super::weight::WeightData;

/// dx = dy[:, first..first + F] · W (+ dx)
///
/// dy (N, stride), weight (F, C) -> dx (N, C). With `accumulate` what dx holds is added.
pub fn linear_grad(dy: &[f32], weight: WeightData<'_>, columns: Columns, accumulate: bool, dx: &mut [f32]) {
    let Columns { first, stride } = columns;
    let c = weight.c;
    let mut space = Vec::new();
    let weight = weight.read(0, weight.rows(), &mut space);
    for (dy, dx) in dy.chunks_exact(stride).zip(dx.chunks_exact_mut(c)) {
        for (i, dx) in dx.iter_mut().enumerate() {
            let products = weight.chunks_exact(c).zip(&dy[first..]);
            let sum: f64 = products.map(|(w, &dy)| f64::from(dy) * f64::from(w[i])).sum();
            let held = if accumulate { f64::from(*dx) } else { 0.0 };
            *dx = (sum + held) as f32;
        }
    }
}
