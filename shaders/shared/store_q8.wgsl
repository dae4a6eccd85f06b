// store_q8: numbers as two blocks of 32 codes of 8 bits, as ggml's quantize_row_q8_0_ref rounds them: 16
// words of codes, then one of two scales, f16. shared/cache_q8.wgsl says where they lie.
// Needs params.s and params.kv_cols.

const UNIT: u32 = 64u;
const WORDS: u32 = 17u;

// UNIT numbers as WORDS words.
fn packed(numbers: array<f32, UNIT>) -> array<u32, WORDS> {
    var x = numbers;
    var words = array<u32, WORDS>();
    var scales = vec2(0.0);
    for (var block = 0u; block < 2u; block++) {
        var most = 0.0;
        for (var i = 0u; i < 32u; i++) {
            most = max(most, abs(x[32u * block + i]));
        }
        let scale = most / 127.0;
        let inverse = select(1.0 / scale, 0.0, scale == 0.0);
        scales = select(vec2(scales.x, scale), vec2(scale, scales.y), block == 0u);
        for (var w = 0u; w < 8u; w++) {
            var word = 0u;
            for (var k = 0u; k < 4u; k++) {
                let code = x[32u * block + 4u * w + k] * inverse;
                // Halves go away from zero, and no further than a code does.
                let whole = i32(sign(code) * min(floor(abs(code) + 0.5), 127.0));
                word |= (u32(whole) & 255u) << (8u * k);
            }
            words[8u * block + w] = word;
        }
    }
    words[16] = pack2x16float(scales);
    return words;
}

// Where word w of those of element `at` of a slot is.
fn word_place(slot: u32, at: u32, w: u32) -> u32 {
    let elements = params.s * params.kv_cols;
    let codes = slot * (elements / 4u + elements / 64u);
    return select(codes + at / 4u + w, codes + elements / 4u + at / 64u, w == 16u);
}
