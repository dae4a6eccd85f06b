//! Twin of `shaders/activation.wgsl`.

use crate::activation::Activation;

/// y = act(x), or act(gate) ∘ up where `gated` and x = [gate | up]
///
/// x (N, F), or (N, 2F) when gated -> y (N, F).
pub fn activation(x: &[f32], kind: Activation, gated: bool, f: usize, y: &mut [f32]) {
    let width = if gated { 2 * f } else { f };
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(f)) {
        for i in 0..f {
            let up = if gated { f64::from(x[f + i]) } else { 1.0 };
            y[i] = (apply(kind, f64::from(x[i])) * up) as f32;
        }
    }
}

/// act(x)
pub(super) fn apply(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}

/// Error function, |error| < 1.2e-7 (Numerical Recipes' Chebyshev fit of erfc).
///
/// The standard library has none, and f32 outputs need no better.
pub(super) fn erf(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let series = FIT.iter().rev().fold(0.0, |sum, a| sum * t + a);
    let erfc = t * (-x * x + series).exp();
    if x >= 0.0 { 1.0 - erfc } else { erfc - 1.0 }
}
