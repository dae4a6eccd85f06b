// linear_vec: y = x Wᵀ (+ bias) (+ y) for few rows of x (decoding)
//
// shapes     x (N, C)   weight (F, C)   bias (stride)   y (N, stride)                 f32
// dispatch   (ceil(F / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share four
//            rows of weight and stride over c
// accepts    any N, C, F >= 1; whole rows of vec4 where C is a multiple of 4
// numerics   f32 sums, LANES partial sums added in tree order; twin in f64
// twin       src/backend/cpu/linear.rs
// uses       shared/linear.wgsl

override WORKGROUP_SIZE: u32 = 64u;
// Invocations on one dot product: many where loads coalesce, one on software adapters.
override LANES: u32 = 16u;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // (F, C)

var<workgroup> partial: array<vec4<f32>, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_vec(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    // Rows past the last repeat it; their sums are not written.
    let f = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.f - 1u));
    var sums = vec4(0.0);
    if params.c % 4u == 0u {
        let c4 = params.c / 4u;
        for (var c = lane; c < c4; c += LANES) {
            let v = x[n * c4 + c];
            sums += vec4(dot(v, weight[f.x * c4 + c]), dot(v, weight[f.y * c4 + c]),
                         dot(v, weight[f.z * c4 + c]), dot(v, weight[f.w * c4 + c]));
        }
    } else {
        for (var c = lane; c < params.c; c += LANES) {
            let v = x[(n * params.c + c) / 4u][(n * params.c + c) % 4u];
            let at = f * params.c + c;
            sums += v * vec4(weight[at.x / 4u][at.x % 4u], weight[at.y / 4u][at.y % 4u],
                             weight[at.z / 4u][at.z % 4u], weight[at.w / 4u][at.w % 4u]);
        }
    }
    partial[i] = sums;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[i] += partial[i + half];
        }
    }
    if lane == 0u {
        for (var j = 0u; j < 4u && first + j < params.f; j++) {
            put(n, first + j, partial[i][j]);
        }
    }
}
