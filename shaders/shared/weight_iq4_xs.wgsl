// weight_iq4_xs: elements of a weight in blocks of 256 codes of 4 bits that count in steps of their own,
// for C a multiple of 256: a row is C / 8 words of codes, the first half of each 32 in the low bits of
// 16 bytes, the second in the high ones; C / 128 words of scales of 32 elements each, four i8; then words
// of what they are counted in, two f16 each.
// Needs the binding weight, and params.c.

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 8u + params.c / 128u + (params.c + 256u) / 512u;
}

// One of sixteen steps. No constant of the module: naga 30 loses its type's place where two arrays have the size of
// an override.
fn step_of(code: u32) -> f32 {
    let steps = vec4(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u); // four i8 a word
    return f32(i32(steps[code / 4u] << (24u - code % 4u * 8u)) >> 24u);
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let word = weight[at + c / 8u * 4u + c % 4u] >> (c & 4u);
    let codes = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
    let steps = vec4(step_of(codes.x), step_of(codes.y), step_of(codes.z), step_of(codes.w));
    let scales = at + params.c / 8u;
    let scale = i32(weight[scales + c / 32u] << (24u - (c / 8u) % 4u * 8u)) >> 24u;
    let units = unpack2x16float(weight[scales + params.c / 128u + c / 128u]);
    return steps * (select(units.x, units.y, (c & 64u) != 0u) * f32(scale));
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
