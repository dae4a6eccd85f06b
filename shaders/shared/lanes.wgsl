// lanes: sums over LANES neighbouring invocations, in tree order.
// Needs `override WORKGROUP_SIZE`.

// Invocations on one dot product: many where loads coalesce, one on software adapters.
override LANES: u32 = 16u;

var<workgroup> partial: array<vec4<f32>, WORKGROUP_SIZE>;

// The sum over the lanes, right in lane 0. Call in uniform control flow only.
fn sum_lanes(i: u32, lane: u32, sums: vec4<f32>) -> vec4<f32> {
    if LANES == 1u {
        return sums;
    }
    workgroupBarrier(); // an earlier sum may still be read
    partial[i] = sums;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[i] += partial[i + half];
        }
    }
    return partial[i];
}
