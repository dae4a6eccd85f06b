// weight_q5_1: elements of a weight in blocks of 32 codes of 5 bits, for C a multiple of 32: a row is
// words of codes as weight_q5_0 has them, then C / 32 words of a scale and a least number, f16 both.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 8u + params.c / 32u * 2u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let word = weight[at + c / 8u * 4u + c % 4u] >> (c & 4u);
    let fifth = weight[at + params.c / 8u + c / 8u] >> (c % 8u * 4u);
    let low = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
    let codes = low | (((vec4(fifth) >> vec4(0u, 1u, 2u, 3u)) & vec4(1u)) << vec4(4u));
    let scale_and_least = unpack2x16float(weight[at + params.c / 8u + params.c / 32u + c / 8u]);
    return vec4<f32>(codes) * scale_and_least.x + scale_and_least.y;
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
