// store_f16: numbers rounded to f16, two a word; those past it are its largest.
// Needs params.s and params.kv_cols.

const UNIT: u32 = 2u;
const WORDS: u32 = 1u;
const F16_MAX: f32 = 65504.0;

// UNIT numbers as WORDS words.
fn packed(numbers: array<f32, UNIT>) -> array<u32, WORDS> {
    let pair = clamp(vec2(numbers[0], numbers[1]), vec2(-F16_MAX), vec2(F16_MAX));
    return array<u32, WORDS>(pack2x16float(pair));
}

// Where word w of those of element `at` of a slot is.
fn word_place(slot: u32, at: u32, w: u32) -> u32 {
    return (slot * params.s * params.kv_cols + at) / 2u + w;
}
