// weight_q5_k: elements of a weight in blocks of 256 codes of 5 bits, for C a multiple of 256: a row is
// C / 8 words of their low four bits as weight_q4_k has them; C / 32 words of their fifth bits: bit j of
// byte i of a block is that of element 32·j + i; then scales and offsets as weight_q4_k has them.
// Needs the binding weight, and params.c.
// with six_bits.wgsl

alias Weight = u32;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 8u + params.c / 32u + params.c / 64u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let block = c / 64u;
    let run = (c / 8u) % 8u;
    let word = weight[at + c / 16u * 8u + c % 8u] >> ((c & 8u) >> 1u);
    let fifth = weight[at + params.c / 8u + 8u * block + c % 8u] >> run;
    let low = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
    let codes = low | (((vec4(fifth) >> vec4(0u, 8u, 16u, 24u)) & vec4(1u)) << vec4(4u));
    let pairs = at + params.c / 8u + params.c / 32u;
    let high = weight[pairs + 3u * block + 2u];
    let scale = six_bits(weight[pairs + 3u * block], high, run);
    let offset = six_bits(weight[pairs + 3u * block + 1u], high >> 16u, run);
    let units = unpack2x16float(weight[pairs + params.c / 256u * 3u + block]);
    return vec4<f32>(codes) * (units.x * scale) - units.y * offset;
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
