//! Fast [`rms_norm`](crate::backend::cpu::rms_norm).

use super::lanes::dots;

/// y = x / √(mean(x²) + eps) · weight; see the twin.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let c = weight.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let [[sum]] = dots([x], [x]);
        let scale = 1.0 / (sum / c as f32 + eps).sqrt();
        y.iter_mut().zip(x).zip(weight).for_each(|((y, x), w)| *y = x * scale * w);
    }
}
