// few_rows: y = delta(x Wᵀ) (+ bias) (+ y) for few rows of x, ROWS of which share every load of
// weight. Whole vec4 are loaded where C is a multiple of 4. Sums are f32.
// Needs bindings x and weight as vec4, `const ROWS`, `override WORKGROUP_SIZE`,
// shared/lanes.wgsl, shared/linear.wgsl.

fn few_rows(group: vec3<u32>, i: u32) {
    let n0 = group.y * ROWS;
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    // Rows past the last, of weight and of x, repeat it; their sums are not written.
    let f = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.f - 1u));
    let last = params.n - 1u;
    var sums = array<vec4<f32>, ROWS>();
    if params.c % 4u == 0u {
        let c4 = params.c / 4u;
        for (var c = lane; c < c4; c += LANES) {
            let w0 = weight[f.x * c4 + c];
            let w1 = weight[f.y * c4 + c];
            let w2 = weight[f.z * c4 + c];
            let w3 = weight[f.w * c4 + c];
            for (var r = 0u; r < ROWS; r++) {
                let v = x[min(n0 + r, last) * c4 + c];
                sums[r] += vec4(dot(v, w0), dot(v, w1), dot(v, w2), dot(v, w3));
            }
        }
    } else {
        for (var c = lane; c < params.c; c += LANES) {
            let at = f * params.c + c;
            let w = vec4(weight[at.x / 4u][at.x % 4u], weight[at.y / 4u][at.y % 4u],
                         weight[at.z / 4u][at.z % 4u], weight[at.w / 4u][at.w % 4u]);
            for (var r = 0u; r < ROWS; r++) {
                let v = min(n0 + r, last) * params.c + c;
                sums[r] += x[v / 4u][v % 4u] * w;
            }
        }
    }
    for (var r = 0u; r < ROWS && n0 + r < params.n; r++) {
        let n = n0 + r;
        var value = sums[r];
        if params.ranks != 0u {
            value = lane_delta(lane, n, params.first + f, value);
        }
        value = sum_lanes(i, lane, value);
        if lane == 0u {
            for (var j = 0u; j < 4u && first + j < params.f; j++) {
                put(n, params.first + first + j, value[j]);
            }
        }
    }
}

// This lane's share of value · (1 + Σ γ·gain) + Σ γ·shift + Σ z·b, where value is its share of
// the dot products.
fn lane_delta(lane: u32, n: u32, column: vec4<u32>, value: vec4<f32>) -> vec4<f32> {
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
        for (var r = first_rank(block) + lane; r < end_rank(block); r += LANES) {
            var whole = vec4(0.0);
            for (var p = 0u; p < params.partials; p++) {
                let at = z_row + p * params.ranks + r;
                whole += vec4(z[at.x], z[at.y], z[at.z], z[at.w]);
            }
            sum += whole * b_row(r, column);
        }
    }
    return value * gain + sum;
}

// Four columns of a row of b.
fn b_row(row: u32, column: vec4<u32>) -> vec4<f32> {
    let at = row * params.stride + column;
    return vec4(b[at.x], b[at.y], b[at.z], b[at.w]);
}
