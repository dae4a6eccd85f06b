// layer_norm: y[n, c] = (x[n, c] - mean) / sqrt(var + eps) * weight[c] + bias[c]
//
// shapes     x (N, C)   weight (C)   bias (C)   y (N, C)                              f32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over c
// accepts    any N, C >= 1; no alignment assumed
// numerics   two passes (mean, then squared distance), f32 sums in tree order; twin in f64
// twin       src/backend/cpu/layer_norm.rs
// reference  arXiv:1607.06450
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // (C)
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (C)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn layer_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.x * params.c;
    var sum = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        sum += x[row + c];
    }
    let mean = reduce_sum(i, sum) / f32(params.c);
    var squares = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        let d = x[row + c] - mean;
        squares += d * d;
    }
    let scale = inverseSqrt(reduce_sum(i, squares) / f32(params.c) + params.eps);
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        y[row + c] = (x[row + c] - mean) * scale * weight[c] + bias[c];
    }
}
