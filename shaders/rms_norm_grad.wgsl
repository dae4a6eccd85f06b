// rms_norm_grad: dx[n] += s * (g - x * s^2 * mean(x * g)), with g = weight * dy and
// s = 1 / sqrt(mean(x^2) + eps)
//
// shapes     x (N, C)   weight (C)   dy (N, C)   dx (N, C)                            f32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over c
// accepts    any N, C >= 1; no alignment assumed
// numerics   f32 sums in tree order; twin in f64
// twin       src/kernels/twin/rms_norm_grad.rs
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // (C)
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (N, C)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;       // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn rms_norm_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.x * params.c;
    var squares = 0.0;
    var products = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        squares += x[row + c] * x[row + c];
        products += x[row + c] * weight[c] * dy[row + c];
    }
    let scale = inverseSqrt(reduce_sum(i, squares) / f32(params.c) + params.eps);
    let slope = reduce_sum(i, products) / f32(params.c) * scale * scale;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        dx[row + c] += scale * (weight[c] * dy[row + c] - x[row + c] * slope);
    }
}
