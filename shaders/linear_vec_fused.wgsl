// linear_vec_fused: linear_vec of x̂ · weight in the place of x, as norm would have written it, or with
// act(y), or act(gate) * up of y = [gate | up], in the place of y; or both
//
// shapes     x (1, C)   weight (F, C)   vector: where normed the norm's weight (C)
//            y (1, stride); where activated (1, F), or (1, F / 2) where gated too; the rest in
//            shared/linear.wgsl                                                       f32
// dispatch   (ceil(columns of y / (4 * WORKGROUP_SIZE / LANES)), 1, 1): LANES invocations share four rows of
//            weight, or four of gate and four of up, and stride over c
// accepts    any F >= 1; C a multiple of 4. Every workgroup norms x for itself, as norm does: to the bit
// numerics   f32; twins in f64
// twin       src/kernels/twin/norm.rs, src/kernels/twin/linear.rs, src/kernels/twin/activation.rs
// reference  arXiv:1910.07467
// uses       shared/normed_row.wgsl, shared/rms.wgsl, shared/reduce.wgsl, shared/act.wgsl, shared/few_rows.wgsl,
//            shared/lanes.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_vec_fused(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let scale = row_scale(i);
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    let is_gated = params.gated != 0u;
    let columns = select(params.f, params.f / 2u, is_gated);
    let at = weight_rows(first);
    let up_at = weight_rows(columns + first);
    var sums = vec4(0.0);
    var up_sums = vec4(0.0);
    for (var c = lane; c < params.c / 4u; c += LANES) {
        let four = normed_row(c, scale);
        sums += four * weights(at, c);
        if is_gated {
            up_sums += four * weights(up_at, c);
        }
    }
    let value = whole(i, lane, 0u, first, sums);
    var up = vec4(0.0);
    if is_gated {
        up = whole(i, lane, 0u, columns + first, up_sums);
    }
    if lane == 0u {
        for (var j = 0u; j < 4u && first + j < columns; j++) {
            let column = first + j;
            if params.activated == 0u {
                put(0u, params.first + column, value[j]);
            } else if is_gated {
                y[column] = act(params.kind, biased(column, value[j])) * biased(columns + column, up[j]);
            } else {
                y[column] = act(params.kind, biased(column, value[j]));
            }
        }
    }
}
