// cache_q8: elements of keys and values in blocks of 32 codes of 8 bits, for K·D a multiple of 64: a slot
// is S·K·D / 4 words of codes, then S·K·D / 64 words of scales, two f16 each.
// Needs the bindings k_cache and v_cache, and params.s and params.kv_cols.

alias Key = u32;
alias Value = u32;

var<private> cache_slot: u32;                                        // of the elements that are read

// Where the codes of element `at` of all slots are.
fn codes_of(at: u32) -> u32 {
    return at / 4u + cache_slot * (params.s * params.kv_cols / 64u);
}

// Where its scale is.
fn scales_of(at: u32) -> u32 {
    return at / 64u + (cache_slot + 1u) * (params.s * params.kv_cols / 4u);
}

// That of the two scales of a word.
fn scale_of(at: u32, scales: u32) -> f32 {
    return unpack2x16float(scales)[at / 32u % 2u];
}

// That of the four codes of a word.
fn code_of(at: u32, codes: u32) -> f32 {
    return f32(i32(codes << (24u - 8u * (at % 4u))) >> 24u);
}

// The four of a word, by the word of their scale.
fn four_of(at: u32, codes: u32, scales: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4(codes) << vec4(24u, 16u, 8u, 0u)) >> vec4(24u)) * scale_of(at, scales);
}

// Elements at .. at + 3 of all slots' keys, for a multiple of 4.
fn key_four(at: u32) -> vec4<f32> {
    return four_of(at, k_cache[codes_of(at)], k_cache[scales_of(at)]);
}

// Element `at` of all slots' keys.
fn key_at(at: u32) -> f32 {
    return code_of(at, k_cache[codes_of(at)]) * scale_of(at, k_cache[scales_of(at)]);
}

// Element `at` of all slots' values.
fn value_at(at: u32) -> f32 {
    return code_of(at, v_cache[codes_of(at)]) * scale_of(at, v_cache[scales_of(at)]);
}

// Elements at .. at + 3 of all slots' values, for a multiple of 4.
fn value_four(at: u32) -> vec4<f32> {
    return four_of(at, v_cache[codes_of(at)], v_cache[scales_of(at)]);
}
