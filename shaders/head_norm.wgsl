// head_norm: y[n] = qkv[n], each head of q and of k normed: x / sqrt(mean(x^2) + eps) * weight
//
// shapes     qkv (N, (H + 2K)·D) = [q | k | v]   q_weight, k_weight (D)
//            y (N, (H + 2K)·D)                                                        f32
// dispatch   (H + 2K, N, 1): one workgroup per head; invocations stride over d
// accepts    any N, D >= 1; no alignment assumed
// numerics   f32 sums in tree order; twin in f64. Squares past f32 give numbers that are infinite
//            or none, in both
// twin       src/kernels/twin/head_norm.rs
// reference  arXiv:1910.07467, over a head as in arXiv:2010.04245
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { q_heads: u32, k_heads: u32, q_dim: u32, k_dim: u32, eps: f32 } // dims: D, or of all heads

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // (N, (H + 2K)·D)
@group(0) @binding(2) var<storage, read> q_weight: array<f32>;       // (q_dim)
@group(0) @binding(3) var<storage, read> k_weight: array<f32>;       // (k_dim)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (N, (H + 2K)·D)

@compute @workgroup_size(WORKGROUP_SIZE)
fn head_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let head = group.x;
    let q_cols = params.q_heads * params.q_dim;
    var d = params.q_dim;
    var first = group.y * (q_cols + 2u * params.k_heads * params.k_dim) + head * d;
    if head >= params.q_heads {
        d = params.k_dim;
        first = first + q_cols + (head - params.q_heads) * d - head * params.q_dim;
    }
    if head >= params.q_heads + params.k_heads {
        for (var c = i; c < d; c += WORKGROUP_SIZE) {
            y[first + c] = qkv[first + c];
        }
        return;
    }
    var squares = 0.0;
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        squares += qkv[first + c] * qkv[first + c];
    }
    let square = reduce_sum(i, squares) / f32(d);
    // 1/sqrt(inf) would hide that x is wrong; by its bits, as a compiler may take floats for numbers.
    let is_inf = (bitcast<u32>(square) & 0x7f800000u) == 0x7f800000u;
    let scale = select(inverseSqrt(square + params.eps), square, is_inf);
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        var weight = k_weight[c];
        if head < params.q_heads {
            weight = q_weight[c];
        }
        y[first + c] = qkv[first + c] * scale * weight;
    }
}
