// shrink: z[n, r] = γ[r] · A[r] · x[n] for the ranks that row n's mix has switched on
//
// shapes     rows (N)   mixes (mixes)   x (N, C)   weight = A (parts·R, C)   z (N, z_cols) f32
// dispatch   (ceil(parts·R / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share
//            four ranks and stride over c
// accepts    any N, C >= 1; R a multiple of 4; ranks that are off are not written
// numerics   f32; twin in f64
// twin       src/backend/cpu/shrink.rs
// uses       shared/dots.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, ranks: u32, rows_of_a: u32, z_cols: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;   // (parts·R, C)
@group(0) @binding(5) var<storage, read_write> z: array<f32>;        // (N, z_cols)

@compute @workgroup_size(WORKGROUP_SIZE)
fn shrink(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let lane = i % LANES;
    let mix = rows[n].mix;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    // γ of the four ranks; 0 also where a rank is off.
    var weights = vec4(0.0);
    var on = vec4(false);
    for (var k = 0u; k < mixes[mix].n_blocks && first < params.rows_of_a; k++) {
        let block = mixes[mix].blocks[k];
        let rank = vec4(first % params.ranks) + vec4(0u, 1u, 2u, 3u);
        let inside = (rank >= vec4(first_rank(block))) & (rank < vec4(end_rank(block)));
        weights = select(weights, vec4(block.weight), inside);
        on = on | inside;
    }
    var sums = vec4(0.0);
    if any(on) {
        sums = lane_dots(lane, n, vec4(first) + vec4(0u, 1u, 2u, 3u), params.c);
    }
    let dots = sum_lanes(i, lane, sums) * weights;
    if lane == 0u {
        for (var j = 0u; j < 4u; j++) {
            if on[j] {
                z[n * params.z_cols + first + j] = dots[j];
            }
        }
    }
}
