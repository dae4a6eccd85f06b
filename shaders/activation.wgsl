// activation: y = act(x), or act(gate) * up where gated and x = [gate | up]
//
// shapes     x (N, F) or (N, 2F)   y (N, F)                                           f32
// dispatch   (ceil(F / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, F >= 1
// twin       src/kernels/twin/activation.rs
// uses       shared/act.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { f: u32, kind: u32, gated: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, F) or (N, 2F)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (N, F)

@compute @workgroup_size(WORKGROUP_SIZE)
fn activation(@builtin(global_invocation_id) id: vec3<u32>) {
    let f = id.x;
    let n = id.y;
    if f >= params.f {
        return;
    }
    if params.gated != 0u {
        let row = n * 2u * params.f;
        y[n * params.f + f] = act(params.kind, x[row + f]) * x[row + params.f + f];
    } else {
        y[n * params.f + f] = act(params.kind, x[n * params.f + f]);
    }
}
