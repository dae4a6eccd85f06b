//! Twin of `shaders/activation_grad.wgsl`.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::activation::Activation;

use super::activation::{apply, erf};

/// dx = dy ∘ act'(x), or [dy ∘ up ∘ act'(gate) | dy ∘ act(gate)] where `gated` and
/// x = [gate | up]
///
/// x (N, F), or (N, 2F) when gated, dy (N, F) -> dx, shaped like x.
pub(crate) fn activation_grad(
    x: &[f32],
    dy: &[f32],
    kind: Activation,
    gated: bool,
    f: usize,
    dx: &mut [f32],
) {
    let width = if gated { 2 * f } else { f };
    for ((x, dy), dx) in x.chunks_exact(width).zip(dy.chunks_exact(f)).zip(dx.chunks_exact_mut(width)) {
        for i in 0..f {
            let (gate, dy) = (f64::from(x[i]), f64::from(dy[i]));
            let up = if gated { f64::from(x[f + i]) } else { 1.0 };
            dx[i] = (dy * up * slope(kind, gate)) as f32;
            if gated {
                dx[f + i] = (dy * apply(kind, gate)) as f32;
            }
        }
    }
}

/// act'(x); that of ReLU is 0 at 0, as PyTorch's.
fn slope(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
        Activation::Gelu => {
            let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
            0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density
        }
        Activation::GeluTanh => {
            let k = (2.0 / PI).sqrt();
            let tanh = (k * (x + 0.044_715 * x.powi(3))).tanh();
            0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * k * (1.0 + 3.0 * 0.044_715 * x * x)
        }
        Activation::Relu => f64::from(x > 0.0),
    }
}
