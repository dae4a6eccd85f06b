// cache_f32: elements of keys and values held as f32, one by one.
// Needs the bindings k_cache and v_cache.

alias Key = f32;
alias Value = f32;

var<private> cache_slot: u32;                                        // of the elements that are read

// Element `at` of all slots' keys.
fn key_at(at: u32) -> f32 {
    return k_cache[at];
}

// Element `at` of all slots' values.
fn value_at(at: u32) -> f32 {
    return v_cache[at];
}
