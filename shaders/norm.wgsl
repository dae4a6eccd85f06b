// norm: y[n, c] = x̂[n, c] * weight[c] (+ bias[c]) (+ y[n, c]), and z = γ ∘ A·y for adapters that read y
//
// shapes     x (N, C)   weight, bias (C)   y (N, C)
//            rows (N)   mixes (mixes)   a (parts·R, C)   z (N, z_cols)                f32
// dispatch   (1 + ceil(parts·R / (4 * WORKGROUP_SIZE / LANES)), N, 1): the first workgroup of a
//            row writes y; each of the others makes ranks of z, LANES invocations sharing four,
//            and norms the row again for itself: cheaper than a dispatch that waits for y
// accepts    any N, C >= 1; R a multiple of 4, or 0 without adapters; no alignment assumed
// numerics   two passes where centred, f32 sums in tree order; twin in f64. Squares past f32 give
//            numbers that are infinite or none, in both
// twin       src/kernels/twin/norm.rs
// reference  arXiv:1910.07467, arXiv:1607.06450 (centred)
// uses       shared/rms.wgsl, shared/reduce.wgsl, shared/lanes.wgsl, shared/ranks.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    c: u32, eps: f32, centred: u32, with_bias: u32, accumulate: u32,
    ranks: u32, rows_of_a: u32, z_cols: u32, // ranks 0: no adapters
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // (C)
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;     // (C)
@group(0) @binding(4) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(5) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(6) var<storage, read> a: array<vec4<f32>>;        // (parts·R, C)
@group(0) @binding(7) var<storage, read_write> y: array<f32>;        // (N, C)
@group(0) @binding(8) var<storage, read_write> z: array<f32>;        // (N, z_cols)

fn x_at(at: u32) -> f32 {
    return x[at / 4u][at % 4u];
}

fn normed(row: u32, c: u32, mean: f32, scale: f32) -> f32 {
    let value = (x_at(row + c) - mean) * scale * weight[c / 4u][c % 4u];
    if params.with_bias != 0u {
        return value + bias[c / 4u][c % 4u];
    }
    return value;
}

// The same at columns 4c .. 4c + 3, where row is in steps of four too.
fn normed_four(row: u32, c: u32, mean: f32, scale: f32) -> vec4<f32> {
    let value = (x[row + c] - mean) * scale * weight[c];
    if params.with_bias != 0u {
        return value + bias[c];
    }
    return value;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let row = n * params.c;
    let fours = WORKGROUP_SIZE / LANES;
    if group.x > 0u && !any_rank(rows[n].mix, 4u * fours * (group.x - 1u), 4u * fours, params.ranks) {
        return;
    }
    var mean = 0.0;
    if params.centred != 0u {
        var sum = 0.0;
        for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
            sum += x_at(row + c);
        }
        mean = reduce_sum(i, sum) / f32(params.c);
    }
    var squares = 0.0;
    for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
        let d = x_at(row + c) - mean;
        squares += d * d;
    }
    let square = reduce_sum(i, squares) / f32(params.c);
    let scale = rms_scale(square, params.eps);
    if group.x == 0u {
        for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
            var before = 0.0;
            if params.accumulate != 0u {
                before = y[row + c];
            }
            y[row + c] = before + normed(row, c, mean, scale);
        }
        return;
    }
    let lane = i % LANES;
    let first = 4u * ((group.x - 1u) * fours + i / LANES);
    let four = four_ranks(rows[n].mix, first, params.ranks, params.rows_of_a);
    var sums = vec4(0.0);
    if any(four.on) && params.c % 4u == 0u {
        let c4 = params.c / 4u;
        for (var c = lane; c < c4; c += LANES) {
            sums += four_dots(first, c4, c, normed_four(n * c4, c, mean, scale));
        }
    } else if any(four.on) {
        for (var c = lane; c < params.c; c += LANES) {
            sums += normed(row, c, mean, scale) * four_of_a(first, params.c, c);
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
