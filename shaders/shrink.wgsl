// shrink: z[n, r] = γ[r] · A[r] · x[n] for the ranks that row n's mix has switched on
//
// shapes     x (N, C)   rows (N)   mixes (mixes)   a (parts·R, C)   z (N, z_cols)     f32
// dispatch   (ceil(parts·R / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share
//            four ranks and stride over c
// accepts    any N, C >= 1; R a multiple of 4; ranks that are off are not written
// numerics   f32; twin in f64
// twin       src/kernels/twin/shrink.rs
// uses       shared/lanes.wgsl, shared/ranks.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, ranks: u32, rows_of_a: u32, z_cols: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(3) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(4) var<storage, read> a: array<vec4<f32>>;        // (parts·R, C)
@group(0) @binding(5) var<storage, read_write> z: array<f32>;        // (N, z_cols)

@compute @workgroup_size(WORKGROUP_SIZE)
fn shrink(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let mix = rows[n].mix;
    let lane = i % LANES;
    let fours = WORKGROUP_SIZE / LANES;
    if !any_rank(mix, 4u * fours * group.x, 4u * fours, params.ranks) {
        return;
    }
    let first = 4u * (group.x * fours + i / LANES);
    let four = four_ranks(mix, first, params.ranks, params.rows_of_a);
    var sums = vec4(0.0);
    if any(four.on) && params.c % 4u == 0u {
        let c4 = params.c / 4u;
        for (var c = lane; c < c4; c += LANES) {
            sums += four_dots(first, c4, c, x[n * c4 + c]);
        }
    } else if any(four.on) {
        for (var c = lane; c < params.c; c += LANES) {
            let at = n * params.c + c;
            sums += x[at / 4u][at % 4u] * four_of_a(first, params.c, c);
        }
    }
    let dots = sum_lanes(i, lane, sums) * four.weight;
    if lane == 0u {
        for (var j = 0u; j < 4u; j++) {
            if four.on[j] {
                z[n * params.z_cols + first + j] = dots[j];
            }
        }
    }
}
