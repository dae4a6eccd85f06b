// weight_f32x4: elements of an f32 weight in fours, for C a multiple of 4.
// Needs the binding weight, and params.c.

alias Weight = vec4<f32>;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 4u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    return weight[at + c];
}
