// head_norm_grad: dx[n] of q and k becomes s * (g - x * s^2 * mean(x * g)) for each head, with
// g = weight * dx[n] and s = 1 / sqrt(mean(x^2) + eps); dx[n] of v stays
//
// shapes     qkv (N, (H + 2K)·D) = [q | k | v]   q_weight, k_weight (D)
//            dx (N, (H + 2K)·D)                                                       f32
// dispatch   (H + K, N, 1): one workgroup per head; invocations stride over d
// accepts    any N, D >= 1; no alignment assumed
// numerics   f32 sums in tree order; twin in f64
// twin       src/kernels/twin/head_norm_grad.rs
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { q_heads: u32, k_heads: u32, q_dim: u32, k_dim: u32, eps: f32 } // dims: D, or of all heads

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // (N, (H + 2K)·D)
@group(0) @binding(2) var<storage, read> q_weight: array<f32>;       // (q_dim)
@group(0) @binding(3) var<storage, read> k_weight: array<f32>;       // (k_dim)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;       // (N, (H + 2K)·D)

fn slope_at(is_q: bool, c: u32, at: u32) -> f32 {
    if is_q {
        return q_weight[c] * dx[at];
    }
    return k_weight[c] * dx[at];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn head_norm_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let is_q = group.x < params.q_heads;
    let q_cols = params.q_heads * params.q_dim;
    var d = params.q_dim;
    var first = group.y * (q_cols + 2u * params.k_heads * params.k_dim) + group.x * d;
    if !is_q {
        d = params.k_dim;
        first = first + q_cols + (group.x - params.q_heads) * d - group.x * params.q_dim;
    }
    var squares = 0.0;
    var products = 0.0;
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        let x = qkv[first + c];
        squares += x * x;
        products += x * slope_at(is_q, c, first + c);
    }
    let scale = inverseSqrt(reduce_sum(i, squares) / f32(d) + params.eps);
    let mean = reduce_sum(i, products) / f32(d) * scale * scale;
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        dx[first + c] = scale * (slope_at(is_q, c, first + c) - qkv[first + c] * mean);
    }
}
