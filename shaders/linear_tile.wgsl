// linear_tile: y = delta(x Wᵀ) (+ bias) (+ y) for many rows of x (prefill)
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / 64), ceil(N / 64), 1): a workgroup of 8 x 8 invocations makes a tile of 64 x 64
//            outputs, walking C in steps of 16 through workgroup memory, and then, where all its rows have
//            one mix, the ranks of that: z·b is a product like x·Wᵀ
// accepts    any N, F >= 1; C a multiple of 4
// numerics   f32 sums in order of c, then of rank; twin in f64
// twin       src/kernels/twin/linear.rs
// uses       shared/wide_tile.wgsl, shared/few_rows.wgsl, shared/lanes.wgsl, shared/linear.wgsl,
//            shared/mix.wgsl, shared/row.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

const NO_MIX: u32 = 0xffffffffu;

// The mix of the tile's rows, inactive ones aside, whose y nobody reads; NO_MIX if they differ, or if the
// tile's ranks cannot be added up like its columns: gains come between, its columns are of two parts, or
// they are not read in fours.
fn mix_of_tile(n0: u32, f0: u32) -> u32 {
    if params.ranks == 0u || params.partials != 1u || !in_fours() {
        return NO_MIX;
    }
    let last = params.first + min(f0 + WIDE, params.f) - 1u;
    if part_of(params.first + f0) != part_of(last) {
        return NO_MIX;
    }
    var mix = NO_MIX;
    var differ = false;
    for (var n = n0; n < min(n0 + WIDE, params.n); n++) {
        let row = rows[n];
        if row.slot != INACTIVE {
            differ = differ || (mix != NO_MIX && mix != row.mix);
            mix = row.mix;
        }
    }
    if differ || mix == NO_MIX {
        return NO_MIX;
    }
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        differ = differ || is_affine(mixes[mix].blocks[k]);
    }
    return select(mix, NO_MIX, differ);
}

// Ranks r .. r + 3 of a row's z, 0 from `end` on.
fn z_four(n: u32, part: u32, r: u32, end: u32) -> vec4<f32> {
    let at = min(n, params.n - 1u) * params.z_cols + part * params.ranks + r;
    return select(vec4(0.0), z[at / 4u], vec4(r) + vec4(0u, 1u, 2u, 3u) < vec4(end));
}

fn put_four(n: u32, f: u32, sums: vec4<f32>, is_whole: bool) {
    for (var j = 0u; j < 4u && n < params.n && f + j < params.f; j++) {
        let column = params.first + f + j;
        var value = sums[j];
        if !is_whole {
            value = adapted(n, column, value);
        }
        put(n, column, value);
    }
}

fn put_rows(n: u32, f: u32, sums: mat4x4<f32>, is_whole: bool) {
    put_four(n, f, sums[0], is_whole);
    put_four(n + 1u, f, sums[1], is_whole);
    put_four(n + 2u, f, sums[2], is_whole);
    put_four(n + 3u, f, sums[3], is_whole);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * WIDE;
    let f0 = group.x * WIDE;
    let n_rows = min(WIDE, params.n - n0);
    // What it brings in: four rows and four columns, at four depths.
    let d4 = i % 4u;
    let four = i / 4u;
    let x_at = x_rows(n0 + 4u * four);
    let w_at = weight_rows(f0 + 4u * four);
    var sums = Wide();
    for (var c0 = 0u; c0 < params.c / 4u; c0 += STEP / 4u) {
        var left = mat4x4<f32>();
        var right = mat4x4<f32>();
        if c0 + d4 < params.c / 4u {
            left = four_x(x_at, c0 + d4);
            right = weights(w_at, c0 + d4);
        }
        workgroupBarrier(); // the last step may still be read
        put_left_four(d4, four, left);
        put_right_four(d4, four, right);
        workgroupBarrier();
        sums = add_wide_tiles(i, n_rows, sums);
    }
    let mix = mix_of_tile(n0, f0);
    if mix != NO_MIX {
        let part = part_of(params.first + f0);
        let n = n0 + 4u * four;
        for (var k = 0u; k < mixes[mix].n_blocks; k++) {
            let block = mixes[mix].blocks[k];
            let end = end_rank(block);
            for (var r0 = first_rank(block); r0 < end; r0 += STEP) {
                let r = r0 + 4u * d4;
                let left = mat4x4(
                    z_four(n, part, r, end), z_four(n + 1u, part, r, end),
                    z_four(n + 2u, part, r, end), z_four(n + 3u, part, r, end),
                );
                workgroupBarrier();
                put_left_four(d4, four, left);
                for (var e = i; e < STEP * WIDE / 4u; e += WORKGROUP_SIZE) {
                    // Past the last rank and the last column, where nothing counts, these repeat.
                    let rank = min(r0 + e / 16u, end - 1u);
                    let column = min(params.first + f0 + 4u * (e % 16u), params.stride - 4u);
                    put_right_row(e / 16u, e % 16u, b_row(rank, column));
                }
                workgroupBarrier();
                sums = add_wide_tiles(i, n_rows, sums);
            }
        }
    }
    let n = n0 + 4u * (i / 8u);
    let f = f0 + 4u * (i % 8u);
    let is_whole = mix != NO_MIX;
    put_rows(n, f, sums.upper_left, is_whole);
    put_rows(n, f + 32u, sums.upper_right, is_whole);
    put_rows(n + 32u, f, sums.lower_left, is_whole);
    put_rows(n + 32u, f + 32u, sums.lower_right, is_whole);
}
