// weight_f32: elements of an f32 weight, for any C.
// Needs the binding weight, and params.c.

alias Weight = f32;

// Element c of a row.
fn weight_at(row: u32, c: u32) -> f32 {
    return weight[row * params.c + c];
}
