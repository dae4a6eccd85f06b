// weight_f16: elements of an f16 weight, two a word, for C a multiple of 64.
// Needs the binding weight, and params.c.

alias Weight = vec2<u32>;

// Elements of `weight` in a row.
fn weight_stride() -> u32 {
    return params.c / 4u;
}

// Elements 4c .. 4c + 3 of the row that begins at `at`.
fn weight_four(at: u32, c: u32) -> vec4<f32> {
    let words = weight[at + c];
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight_four(row * weight_stride(), c / 4u)[c % 4u];
}
