//! Fast [`activation`](crate::twin::activation), in f32; exact GELU, which needs an
//! error function, stays with the twin.

use super::lanes::EXP;
use crate::activation::Activation;
use crate::pool::Pool;

use crate::twin::activation::activation as twin;

/// y = act(x), or act(gate) ∘ up; see the twin.
pub(crate) fn activation(pool: &Pool, x: &[f32], kind: Activation, gated: bool, f: usize, y: &mut [f32]) {
    let width = if gated { 2 * f } else { f };
    let n = x.len() / width;
    pool.split_rows(&mut y[..n * f], f, EXP * n * f, |part, y| {
        rows(&x[part.start * width..part.end * width], kind, gated, f, y);
    });
}

fn rows(x: &[f32], kind: Activation, gated: bool, f: usize, y: &mut [f32]) {
    match kind {
        Activation::Silu => map(x, gated, f, y, |x| x / (1.0 + (-x).exp())),
        Activation::GeluTanh => map(x, gated, f, y, |x| {
            // tanh(z) = 1 − 2 / (e^2z + 1)
            let z = 0.797_884_6 * (x + 0.044_715 * x * x * x);
            x - x / ((2.0 * z).exp() + 1.0)
        }),
        Activation::Relu => map(x, gated, f, y, |x| x.max(0.0)),
        Activation::Gelu => twin(x, kind, gated, f, y),
    }
}

fn map(x: &[f32], gated: bool, f: usize, y: &mut [f32], act: impl Fn(f32) -> f32) {
    if gated {
        for (x, y) in x.chunks_exact(2 * f).zip(y.chunks_exact_mut(f)) {
            let (gate, up) = x.split_at(f);
            y.iter_mut().zip(gate).zip(up).for_each(|((y, &g), u)| *y = act(g) * u);
        }
    } else {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = act(x));
    }
}
