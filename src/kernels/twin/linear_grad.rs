//! Twin of `shaders/linear_grad.wgsl`.

use super::linear::Columns;
use super::weight::WeightData;

/// dx = dy[:, first..first + F] · W (+ dx)
///
/// dy (N, stride), weight (F, C) -> dx (N, C). With `accumulate` what dx holds is added.
pub(crate) fn linear_grad(
    dy: &[f32],
    weight: WeightData<'_>,
    columns: Columns,
    accumulate: bool,
    dx: &mut [f32],
) {
    let Columns { first, stride } = columns;
    let mut space = Vec::new();
    for (dy, dx) in dy.chunks_exact(stride).zip(dx.chunks_exact_mut(weight.c)) {
        let mut sums = vec![0.0; weight.c];
        for f in 0..weight.rows() {
            let w = weight.read(f, 1, &mut space);
            sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += f64::from(dy[first + f]) * f64::from(w));
        }
        for (dx, sum) in dx.iter_mut().zip(sums) {
            let held = if accumulate { f64::from(*dx) } else { 0.0 };
            *dx = (sum + held) as f32;
        }
    }
}
