// weight_q5_0: elements of a weight in blocks of 32 codes of 5 bits, for C a multiple of 32: a row is
// C / 8 words of their low four bits, the first half of a block in the low bits of its 16 bytes, the
// second in the high ones; C / 32 words of their fifth bits; then words of scales, two f16 each.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 8u + params.c / 32u + (params.c + 32u) / 64u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let word = weight[at + c / 8u * 4u + c % 4u] >> (c & 4u);
    let fifth = weight[at + params.c / 8u + c / 8u] >> (c % 8u * 4u);
    let low = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
    let codes = low | (((vec4(fifth) >> vec4(0u, 1u, 2u, 3u)) & vec4(1u)) << vec4(4u));
    let scales = unpack2x16float(weight[at + params.c / 8u + params.c / 32u + c / 16u]);
    return (vec4<f32>(codes) - 16.0) * select(scales.x, scales.y, (c & 8u) != 0u);
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
