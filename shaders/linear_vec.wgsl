// linear_vec: y = delta(x Wᵀ) (+ bias) (+ y) for few rows of x (decoding)
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share four
//            rows of weight and stride over c
// accepts    any N, C, F >= 1
// numerics   f32; twin in f64
// twin       src/backend/cpu/linear.rs
// uses       shared/dots.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // (F, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_vec(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    // Rows past the last repeat it; their sums are not written.
    let f = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.f - 1u));
    let dots = sum_lanes(i, lane, lane_dots(lane, n, f, params.c));
    if lane == 0u {
        for (var j = 0u; j < 4u && first + j < params.f; j++) {
            put(n, first + j, dots[j]);
        }
    }
}
