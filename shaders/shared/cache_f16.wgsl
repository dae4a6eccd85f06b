// cache_f16: elements of keys and values held as f16, two a word, for K·D a multiple of 64.
// Needs the bindings k_cache and v_cache.

alias Key = u32;
alias Value = u32;

var<private> cache_slot: u32;                                        // of the elements that are read

// Elements at .. at + 3 of all slots' keys, for a multiple of 4.
fn key_four(at: u32) -> vec4<f32> {
    return vec4(unpack2x16float(k_cache[at / 2u]), unpack2x16float(k_cache[at / 2u + 1u]));
}

// Element `at` of all slots' keys.
fn key_at(at: u32) -> f32 {
    return unpack2x16float(k_cache[at / 2u])[at % 2u];
}

// Element `at` of all slots' values.
fn value_at(at: u32) -> f32 {
    return unpack2x16float(v_cache[at / 2u])[at % 2u];
}

// Elements at .. at + 3 of all slots' values, for a multiple of 4.
fn value_four(at: u32) -> vec4<f32> {
    return vec4(unpack2x16float(v_cache[at / 2u]), unpack2x16float(v_cache[at / 2u + 1u]));
}
