// weight_q2_k: elements of a weight in blocks of 256 codes of 2 bits, for C a multiple of 256: a row is
// C / 16 words of codes: of 128 elements bits 2j and 2j + 1 of byte i are those of element 32·j + i;
// C / 64 words of scales of 16 elements each in the low bits of a byte, and offsets in the high ones; then
// C / 256 words of what they are counted in, f16 both.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 16u + params.c / 64u + params.c / 256u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let word = weight[at + c / 32u * 8u + c % 8u] >> ((c / 8u) % 4u * 2u);
    let codes = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(3u);
    let scales = at + params.c / 16u;
    let pair = weight[scales + c / 16u] >> ((c / 4u) % 4u * 8u);
    let units = unpack2x16float(weight[scales + params.c / 64u + c / 64u]);
    return vec4<f32>(codes) * (units.x * f32(pair & 15u)) - units.y * f32((pair >> 4u) & 15u);
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
