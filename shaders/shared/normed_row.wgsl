// normed_row: one row of x as norm would have written it, to the bit, where params.normed; or as it is.
// Needs the bindings x and vector, the norm's weight, as vec4; params.c, params.normed and params.eps; shared/rms.wgsl
// and shared/reduce.wgsl.

// What x is multiplied by. Call in uniform control flow only.
fn row_scale(i: u32) -> f32 {
    var squares = 0.0;
    if params.normed != 0u {
        for (var c = i; c < params.c; c += WORKGROUP_SIZE) {
            let d = x[c / 4u][c % 4u];
            squares += d * d;
        }
        squares = reduce_sum(i, squares);
    }
    return select(1.0, rms_scale(squares / f32(params.c), params.eps), params.normed != 0u);
}

// Elements 4c .. 4c + 3.
fn normed_row(c: u32, scale: f32) -> vec4<f32> {
    if params.normed != 0u {
        return x[c] * scale * vector[c];
    }
    return x[c];
}
