// linear_block: y = delta(x Wᵀ) (+ bias) (+ y) for two rows of x or more, on software adapters:
// every load costs them an instruction for each invocation, and workgroup memory more, so that one
// invocation makes as many outputs of its loads as registers allow
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / (8 * WORKGROUP_SIZE)), ceil(N / 8), 1): an invocation makes 8 x 8 outputs
// accepts    any N, F >= 1; C a multiple of 4
// numerics   f32; twin in f64
// twin       src/kernels/twin/linear.rs
// uses       shared/few_rows.wgsl, shared/lanes.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl,
//            shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_block(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = 8u * group.y;
    let first = 8u * (group.x * WORKGROUP_SIZE + i);
    let x_0 = x_rows(n0);
    let x_4 = x_rows(n0 + 4u);
    let w_0 = weight_rows(first);
    let w_4 = weight_rows(first + 4u);
    // Column r of each: row r of x with four rows of weight.
    var sums_00 = mat4x4<f32>();
    var sums_04 = mat4x4<f32>();
    var sums_40 = mat4x4<f32>();
    var sums_44 = mat4x4<f32>();
    for (var c = 0u; c < params.c / 4u; c++) {
        let left = transpose(weights(w_0, c));
        let right = transpose(weights(w_4, c));
        let upper = four_x(x_0, c);
        sums_00 += left * upper;
        sums_04 += right * upper;
        let lower = four_x(x_4, c);
        sums_40 += left * lower;
        sums_44 += right * lower;
    }
    let sums = array(sums_00, sums_04, sums_40, sums_44);
    for (var r = 0u; r < 8u && n0 + r < params.n; r++) {
        for (var half = 0u; half < 2u; half++) {
            finish(i, 0u, n0 + r, first + 4u * half, sums[r / 4u * 2u + half][r % 4u]);
        }
    }
}
