// soft_cap: x[n, v] = cap * tanh(scale * x[n, v] / cap), or scale * x[n, v] where cap is 0
//
// shapes     x (N, V)                                                                 f32
// dispatch   (ceil(V / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, V >= 1
// twin       src/kernels/twin/soft_cap.rs
// reference  arXiv:2408.00118, 2.2
// uses       shared/cap.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { v: u32, scale: f32, cap: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;        // (N, V)

@compute @workgroup_size(WORKGROUP_SIZE)
fn soft_cap(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.v {
        let at = id.y * params.v + id.x;
        x[at] = capped(params.scale * x[at], params.cap);
    }
}
