// linear_vec: y = delta(x Wᵀ) (+ bias) (+ y) for one row of x (decoding)
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share four
//            rows of weight and stride over c
// accepts    any N, F >= 1; C a multiple of 4
// numerics   f32; twin in f64
// twin       src/kernels/twin/linear.rs
// uses       shared/few_rows.wgsl, shared/lanes.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl,
//            shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_vec(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    let x_at = x_row(group.y);
    let w_at = weight_rows(first);
    var sums = vec4(0.0);
    for (var c = lane; c < params.c / 4u; c += LANES) {
        sums += x[x_at + c] * weights(w_at, c);
    }
    finish(i, lane, group.y, first, sums);
}
