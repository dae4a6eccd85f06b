// activation_grad: dx = dy * act'(x), or [dy * up * act'(gate) | dy * act(gate)] where gated and
// x = [gate | up]
//
// shapes     x (N, F) or (N, 2F)   dy (N, F)   dx like x                              f32
// dispatch   (ceil(F / WORKGROUP_SIZE), N, 1): one invocation per element of dy
// accepts    any N, F >= 1
// twin       src/kernels/twin/activation_grad.rs
// uses       shared/act.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { f: u32, kind: u32, gated: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, F) or (N, 2F)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (N, F)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (N, F) or (N, 2F)

// act'(v)
fn act_slope(v: f32) -> f32 {
    switch params.kind {
        case SILU: {
            let s = sigmoid(v);
            return s * (1.0 + v * (1.0 - s));
        }
        case GELU: {
            // 0.3989.. = 1 / sqrt(2π)
            let density = 0.3989422804 * exp(max(-0.5 * v * v, -80.0));
            return 0.5 * (1.0 + erf(v * 0.70710678)) + v * density;
        }
        case GELU_TANH: {
            let t = gelu_gate(v);
            let inner_slope = 0.7978845608 * (1.0 + 0.134145 * v * v);
            return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * inner_slope;
        }
        default: {
            return select(0.0, 1.0, v > 0.0);
        }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn activation_grad(@builtin(global_invocation_id) id: vec3<u32>) {
    let f = id.x;
    let n = id.y;
    if f >= params.f {
        return;
    }
    let d = dy[n * params.f + f];
    if params.gated != 0u {
        let gate = n * 2u * params.f + f;
        let up = gate + params.f;
        dx[gate] = d * x[up] * act_slope(x[gate]);
        dx[up] = d * act(params.kind, x[gate]);
    } else {
        dx[n * params.f + f] = d * act_slope(x[n * params.f + f]);
    }
}
