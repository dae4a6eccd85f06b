// cache_fours: elements of keys and values held as f32, in fours.
// Needs the bindings k_cache and v_cache.

alias Key = vec4<f32>;
alias Value = vec4<f32>;

var<private> cache_slot: u32;                                        // of the elements that are read

// Elements at .. at + 3 of all slots' keys, for a multiple of 4.
fn key_four(at: u32) -> vec4<f32> {
    return k_cache[at / 4u];
}

// Elements at .. at + 3 of all slots' values, for a multiple of 4.
fn value_four(at: u32) -> vec4<f32> {
    return v_cache[at / 4u];
}
