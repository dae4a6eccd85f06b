//! Fast [`norm`](crate::twin::norm); LayerNorm stays with the twin.

use super::lanes::dots;
use crate::pool::Pool;
use crate::twin::norm::norm as twin;

/// y = x̂ · weight (+ bias); see the twin.
pub(crate) fn norm(
    pool: &Pool,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    centred: bool,
    y: &mut [f32],
) {
    let c = weight.len();
    pool.split_rows(&mut y[..x.len()], c, 4 * x.len(), |part, y| {
        let x = &x[part.start * c..part.end * c];
        if centred || bias.is_some() {
            twin(x, weight, bias, eps, centred, y)
        } else {
            rms(x, weight, eps, y)
        }
    });
}

fn rms(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let c = weight.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let [[sum]] = dots([x], [x]);
        let scale = if sum == f32::INFINITY { sum } else { 1.0 / (sum / c as f32 + eps).sqrt() };
        y.iter_mut().zip(x).zip(weight).for_each(|((y, x), w)| *y = x * scale * w);
    }
}
