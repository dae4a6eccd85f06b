// linear_rows: y = delta(x Wᵀ) (+ bias) (+ y) for few rows of x (decoding a batch)
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / (4 * WORKGROUP_SIZE / LANES)), ceil(N / 4), 1): LANES invocations share
//            four rows of weight and stride over c for four rows of x
// accepts    any N, F >= 1; C a multiple of 4
// numerics   f32; twin in f64
// twin       src/kernels/twin/linear.rs
// uses       shared/few_rows.wgsl, shared/lanes.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl,
//            shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    let n0 = 4u * group.y;
    let x_at = x_rows(n0);
    let w_at = weight_rows(first);
    // Separate variables, not an array in a loop: compilers keep those in registers.
    var sums_0 = vec4(0.0);
    var sums_1 = vec4(0.0);
    var sums_2 = vec4(0.0);
    var sums_3 = vec4(0.0);
    for (var c = lane; c < params.c / 4u; c += LANES) {
        let w = weights(w_at, c);
        sums_0 += x[x_at.x + c] * w;
        sums_1 += x[x_at.y + c] * w;
        sums_2 += x[x_at.z + c] * w;
        sums_3 += x[x_at.w + c] * w;
    }
    let sums = array(sums_0, sums_1, sums_2, sums_3);
    for (var r = 0u; r < 4u && n0 + r < params.n; r++) {
        finish(i, lane, n0 + r, first, sums[r]);
    }
}
