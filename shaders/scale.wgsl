// scale: y[n, c] = scale * x[n, c] (+ y[n, c])
//
// shapes     x (N, C)   y (N, C)                                                      f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1
// twin       src/kernels/twin/scale.rs

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, scale: f32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.c {
        return;
    }
    let at = id.y * params.c + id.x;
    var before = 0.0;
    if params.accumulate != 0u {
        before = y[at];
    }
    y[at] = before + params.scale * x[at];
}
