// reduce: sum and maximum over a workgroup, returned to every invocation.
// Tree order, so the result does not depend on scheduling. Call in uniform control flow only.
// Needs `override WORKGROUP_SIZE`, a power of two.

var<workgroup> reduce_scratch: array<f32, WORKGROUP_SIZE>;

fn reduce_sum(i: u32, value: f32) -> f32 {
    workgroupBarrier();
    reduce_scratch[i] = value;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if i < half {
            reduce_scratch[i] += reduce_scratch[i + half];
        }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}

fn reduce_max(i: u32, value: f32) -> f32 {
    workgroupBarrier();
    reduce_scratch[i] = value;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if i < half {
            reduce_scratch[i] = max(reduce_scratch[i], reduce_scratch[i + half]);
        }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}
