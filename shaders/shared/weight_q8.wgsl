// weight_q8: elements of a weight in blocks of 32 codes of 8 bits, for C a multiple of 64: a row
// is C / 4 words of codes, then C / 64 words of scales, two f16 each.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 4u + params.c / 64u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let codes = vec4<i32>(vec4(weight[at + c]) << vec4(24u, 16u, 8u, 0u)) >> vec4(24u);
    let scales = unpack2x16float(weight[at + params.c / 4u + c / 16u]);
    return vec4<f32>(codes) * select(scales.x, scales.y, (c & 8u) != 0u);
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
