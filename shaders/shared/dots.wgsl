// dots: dot products of rows of x with four rows of weight, by LANES invocations together.
// Needs bindings x and weight as vec4, `override WORKGROUP_SIZE`. Whole vec4 are loaded where
// C is a multiple of 4. Sums are f32, added over the lanes in tree order.

// Invocations on one dot product: many where loads coalesce, one on software adapters.
override LANES: u32 = 16u;

var<workgroup> partial: array<vec4<f32>, WORKGROUP_SIZE>;

// This lane's share of x[n] · weight[f.x], .. weight[f.w].
fn lane_dots(lane: u32, n: u32, f: vec4<u32>, cols: u32) -> vec4<f32> {
    var sums = vec4(0.0);
    if cols % 4u == 0u {
        let c4 = cols / 4u;
        for (var c = lane; c < c4; c += LANES) {
            let v = x[n * c4 + c];
            sums += vec4(dot(v, weight[f.x * c4 + c]), dot(v, weight[f.y * c4 + c]),
                         dot(v, weight[f.z * c4 + c]), dot(v, weight[f.w * c4 + c]));
        }
    } else {
        for (var c = lane; c < cols; c += LANES) {
            let v = x[(n * cols + c) / 4u][(n * cols + c) % 4u];
            let at = f * cols + c;
            sums += v * vec4(weight[at.x / 4u][at.x % 4u], weight[at.y / 4u][at.y % 4u],
                             weight[at.z / 4u][at.z % 4u], weight[at.w / 4u][at.w % 4u]);
        }
    }
    return sums;
}

// The sum over the lanes, right in lane 0. Call in uniform control flow only.
fn sum_lanes(i: u32, lane: u32, sums: vec4<f32>) -> vec4<f32> {
    partial[i] = sums;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[i] += partial[i + half];
        }
    }
    return partial[i];
}
