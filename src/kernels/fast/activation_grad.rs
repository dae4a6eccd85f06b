//! Fast [`activation_grad`](crate::twin::activation_grad), in f32; exact GELU, which
//! needs an error function, stays with the twin.

use super::lanes::EXP;
use crate::activation::Activation;
use crate::pool::Pool;

use crate::twin::activation_grad::activation_grad as twin;

/// dx = dy ∘ act'(x), or [dy ∘ up ∘ act'(gate) | dy ∘ act(gate)]; see the twin.
pub(crate) fn activation_grad(
    pool: &Pool,
    x: &[f32],
    dy: &[f32],
    kind: Activation,
    gated: bool,
    f: usize,
    dx: &mut [f32],
) {
    let width = if gated { 2 * f } else { f };
    pool.split_rows(&mut dx[..x.len()], width, EXP * x.len(), |part, dx| {
        let (x, dy) = (&x[part.start * width..part.end * width], &dy[part.start * f..part.end * f]);
        rows(x, dy, kind, gated, f, dx);
    });
}

fn rows(x: &[f32], dy: &[f32], kind: Activation, gated: bool, f: usize, dx: &mut [f32]) {
    match kind {
        Activation::Silu => map(x, dy, gated, f, dx, |x| {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            [x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))]
        }),
        Activation::GeluTanh => map(x, dy, gated, f, dx, |x| {
            // tanh(z) = 1 − 2s with s = 1 / (e^2z + 1), so (1 + tanh) / 2 = 1 − s
            let z = 0.797_884_6 * (x + 0.044_715 * x * x * x);
            let s = 1.0 / ((2.0 * z).exp() + 1.0);
            let dz = 0.797_884_6 * (1.0 + 3.0 * 0.044_715 * x * x);
            [x - x * s, 1.0 - s + 2.0 * x * s * (1.0 - s) * dz]
        }),
        Activation::Relu => map(x, dy, gated, f, dx, |x| [x.max(0.0), f32::from(x > 0.0)]),
        Activation::Gelu => twin(x, dy, kind, gated, f, dx),
    }
}

/// `act` gives [act(x), act'(x)].
fn map(x: &[f32], dy: &[f32], gated: bool, f: usize, dx: &mut [f32], act: impl Fn(f32) -> [f32; 2]) {
    if gated {
        for ((x, dy), dx) in x.chunks_exact(2 * f).zip(dy.chunks_exact(f)).zip(dx.chunks_exact_mut(2 * f)) {
            let (gate, up) = x.split_at(f);
            let (dgate, dup) = dx.split_at_mut(f);
            for i in 0..f {
                let [value, slope] = act(gate[i]);
                dgate[i] = dy[i] * up[i] * slope;
                dup[i] = dy[i] * value;
            }
        }
    } else {
        dx.iter_mut().zip(x).zip(dy).for_each(|((dx, &x), dy)| *dx = dy * act(x)[1]);
    }
}
