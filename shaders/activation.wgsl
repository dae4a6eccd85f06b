// activation: y = act(x), or act(gate) * up where gated and x = [gate | up]
//
// shapes     x (N, F) or (N, 2F)   y (N, F)                                           f32
// dispatch   (ceil(F / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, F >= 1; kind is `Activation` of src/config/mod.rs
// numerics   exact GELU by a fit of erfc, |error| < 1.2e-7
// twin       src/backend/cpu/activation.rs

override WORKGROUP_SIZE: u32 = 64u;

struct Params { f: u32, kind: u32, gated: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, F) or (N, 2F)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (N, F)

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

fn act(v: f32) -> f32 {
    switch params.kind {
        case SILU: {
            // exp stays finite: WGSL leaves infinities undefined.
            return v / (1.0 + exp(min(-v, 80.0)));
        }
        case GELU: {
            return 0.5 * v * (1.0 + erf(v * 0.70710678));
        }
        case GELU_TANH: {
            let inner = 0.7978845608 * (v + 0.044715 * v * v * v);
            return 0.5 * v * (1.0 + tanh(clamp(inner, -15.0, 15.0)));
        }
        default: {
            return max(v, 0.0);
        }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn activation(@builtin(global_invocation_id) id: vec3<u32>) {
    let f = id.x;
    let n = id.y;
    if f >= params.f {
        return;
    }
    if params.gated != 0u {
        let row = n * 2u * params.f;
        y[n * params.f + f] = act(x[row + f]) * x[row + params.f + f];
    } else {
        y[n * params.f + f] = act(x[n * params.f + f]);
    }
}
