// few_rows: what the kernels of `linear` in whole vec4 share: bindings and loads, four rows of weight at a
// time, and the epilogue of those for few rows.
// Needs `override WORKGROUP_SIZE`, shared/lanes.wgsl, shared/linear.wgsl, shared/weight_*.wgsl.
// with four_weights.wgsl

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (F, C)
@group(0) @binding(6) var<storage, read> z: array<vec4<f32>>;        // (N, z_cols)
@group(0) @binding(7) var<storage, read> b: array<vec4<f32>>;        // (ranks + 2·adapters, stride)

// Where row n of x begins. Rows past the last repeat it.
fn x_row(n: u32) -> u32 {
    return min(n, params.n - 1u) * (params.c / 4u);
}

fn x_rows(n: u32) -> vec4<u32> {
    return vec4(x_row(n), x_row(n + 1u), x_row(n + 2u), x_row(n + 3u));
}

// Step c of four rows of x, whose products with four rows of weight are transpose(w) * rows.
fn four_x(at: vec4<u32>, c: u32) -> mat4x4<f32> {
    return mat4x4(x[at.x + c], x[at.y + c], x[at.z + c], x[at.w + c]);
}

// Where rows first .. first + 3 of weight begin. Rows past the last repeat it.
fn weight_rows(first: u32) -> vec4<u32> {
    return min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.f - 1u)) * weight_stride();
}

// What row n has at rows first .. first + 3 of weight before bias, of whose dot products sums is this lane's
// share; right in lane 0. Call in uniform control flow only.
fn whole(i: u32, lane: u32, n: u32, first: u32, sums: vec4<f32>) -> vec4<f32> {
    let column = params.first + first;
    if params.ranks != 0u && in_fours() {
        return sum_lanes(i, lane, lane_delta(lane, n, column, sums));
    }
    var value = sum_lanes(i, lane, sums);
    if params.ranks != 0u && lane == 0u {
        value = vec4(
            adapted(n, column, value.x), adapted(n, column + 1u, value.y),
            adapted(n, column + 2u, value.z), adapted(n, column + 3u, value.w),
        );
    }
    return value;
}

// Writes y of row n at rows first .. first + 3 of weight. Call in uniform control flow only.
fn finish(i: u32, lane: u32, n: u32, first: u32, sums: vec4<f32>) {
    let value = whole(i, lane, n, first, sums);
    if lane == 0u {
        for (var j = 0u; j < 4u && first + j < params.f; j++) {
            put(n, params.first + first + j, value[j]);
        }
    }
}

// Whether z and b can be read in whole vec4. An odd vocabulary's cannot; the kernel must be the
// same with adapters and without, so that one that is off changes no bit.
fn in_fours() -> bool {
    let edges = vec2(params.part_1, params.part_2); // all ones: no such part
    return (params.first | params.stride | params.z_cols) % 4u == 0u
        && all((edges % 4u == vec2(0u)) | (edges == vec2(0xffffffffu)));
}

fn z_at(at: u32) -> f32 {
    return z[at / 4u][at % 4u];
}

fn b_at(at: u32) -> f32 {
    return b[at / 4u][at % 4u];
}

// This lane's share of value · (1 + Σ γ·gain) + Σ γ·shift + Σ z·b at four columns, which are of
// one part, where value is its share of the dot products.
fn lane_delta(lane: u32, n: u32, column: u32, value: vec4<f32>) -> vec4<f32> {
    let mix = rows[n].mix;
    let z_row = n * params.z_cols + params.partials * params.ranks * part_of(column);
    var sum = vec4(0.0);
    var gain = vec4(1.0);
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        if is_affine(block) {
            gain += block.weight * b_row(gain_row(block), column);
            if lane == 0u {
                sum += block.weight * b_row(gain_row(block) + params.adapters, column);
            }
        }
        let end = end_rank(block);
        for (var r = first_rank(block) + 4u * lane; r < end; r += 4u * LANES) {
            var whole = vec4(0.0);
            for (var p = 0u; p < params.partials; p++) {
                whole += z[(z_row + p * params.ranks + r) / 4u];
            }
            // What lies past the block's last rank is not of this mix.
            whole = select(vec4(0.0), whole, vec4(r) + vec4(0u, 1u, 2u, 3u) < vec4(end));
            sum += mat4x4(b_row(r, column), b_row(r + 1u, column), b_row(r + 2u, column), b_row(r + 3u, column)) * whole;
        }
    }
    return value * gain + sum;
}

// Columns column .. column + 3 of a row of b.
fn b_row(row: u32, column: u32) -> vec4<f32> {
    return b[(row * params.stride + column) / 4u];
}
