// weight_q6_k: elements of a weight in blocks of 256 codes of 6 bits, for C a multiple of 256: a row is
// C / 8 words of their low four bits: of 128 elements the first 64 in the low bits of 64 bytes, the
// others in the high ones; C / 16 words of their high two: of 128 elements bits 2j and 2j + 1 of byte i
// are those of element 32·j + i; C / 64 words of scales of 16 elements each, four i8; then words of what
// they are counted in, two f16 each.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 8u + params.c / 16u + params.c / 64u + (params.c + 256u) / 512u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let word = weight[at + c / 32u * 16u + c % 16u] >> ((c & 16u) >> 2u);
    let high = weight[at + params.c / 8u + c / 32u * 8u + c % 8u] >> ((c / 8u) % 4u * 2u);
    let low = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
    let codes = low | (((vec4(high) >> vec4(0u, 8u, 16u, 24u)) & vec4(3u)) << vec4(4u));
    let scales = at + params.c / 8u + params.c / 16u;
    let scale = i32(weight[scales + c / 16u] << (24u - (c / 4u) % 4u * 8u)) >> 24u;
    let units = unpack2x16float(weight[scales + params.c / 64u + c / 128u]);
    let unit = select(units.x, units.y, (c & 64u) != 0u);
    return (vec4<f32>(codes) - 32.0) * (unit * f32(scale));
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
