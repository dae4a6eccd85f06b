// act: the activation functions; `kind` is `Activation` of src/config/mod.rs.
// Exact GELU by a fit of erfc, |error| < 1.2e-7.

const SILU: u32 = 0u;
const GELU: u32 = 1u;
const GELU_TANH: u32 = 2u;

// Numerical Recipes' Chebyshev fit, as in the twin.
fn erf(v: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * abs(v));
    var s = 0.17087277;
    s = s * t - 0.82215223;
    s = s * t + 1.48851587;
    s = s * t - 1.13520398;
    s = s * t + 0.27886807;
    s = s * t - 0.18628806;
    s = s * t + 0.09678418;
    s = s * t + 0.37409196;
    s = s * t + 1.00002368;
    s = s * t - 1.26551223;
    let erfc = t * exp(s - v * v);
    return select(erfc - 1.0, 1.0 - erfc, v >= 0.0);
}

// exp stays finite: WGSL leaves infinities undefined.
fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-v, 80.0)));
}

// The tanh in the approximation of GELU.
fn gelu_gate(v: f32) -> f32 {
    let inner = 0.7978845608 * (v + 0.044715 * v * v * v);
    return tanh(clamp(inner, -15.0, 15.0));
}

fn act(kind: u32, v: f32) -> f32 {
    switch kind {
        case SILU: {
            return v * sigmoid(v);
        }
        case GELU: {
            return 0.5 * v * (1.0 + erf(v * 0.70710678));
        }
        case GELU_TANH: {
            return 0.5 * v * (1.0 + gelu_gate(v));
        }
        default: {
            return max(v, 0.0);
        }
    }
}
