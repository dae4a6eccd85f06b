// layer_norm_grad: dx[n] += s * (g - mean(g) - u * mean(g * u)), with g = weight * dy,
// s = 1 / sqrt(var(x) + eps) and u = s * (x - mean(x))
//
// shapes     x (N, C)   weight (C)   dy (N, C)   dx (N, C)                            f32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over c
// accepts    any N, C >= 1; no alignment assumed
// numerics   f32 sums in tree order, the mean before squared distances; twin in f64
// twin       src/kernels/twin/layer_norm_grad.rs
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // (C)
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (N, C)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;       // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn layer_norm_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.x * params.c;
    let count = f32(params.c);
    var sum = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        sum += x[row + c];
    }
    let mean = reduce_sum(i, sum) / count;
    var squares = 0.0;
    var gradients = 0.0;
    var products = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        let d = x[row + c] - mean;
        let g = weight[c] * dy[row + c];
        squares += d * d;
        gradients += g;
        products += g * d;
    }
    let scale = inverseSqrt(reduce_sum(i, squares) / count + params.eps);
    let shift = reduce_sum(i, gradients) / count;
    let slope = reduce_sum(i, products) / count * scale * scale;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        let g = weight[c] * dy[row + c];
        dx[row + c] += scale * (g - shift - (x[row + c] - mean) * slope);
    }
}
