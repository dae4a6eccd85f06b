//! Twin of `shaders/soft_cap.wgsl`.

use super::attention::capped;

/// x ← cap · tanh(scale · x / cap), or scale · x where `cap` is 0 (arXiv:2408.00118, 2.2)
pub(crate) fn soft_cap(scale: f32, cap: f32, x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = capped(f64::from(scale) * f64::from(*x), f64::from(cap)) as f32);
}
