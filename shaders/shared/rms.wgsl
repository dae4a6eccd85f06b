// rms: what a row is multiplied by so that its mean square is one.

fn rms_scale(square: f32, eps: f32) -> f32 {
    // 1/sqrt(inf) would hide that x is wrong; by its bits, as a compiler may take floats for numbers.
    let is_inf = (bitcast<u32>(square) & 0x7f800000u) == 0x7f800000u;
    return select(inverseSqrt(square + eps), square, is_inf);
}
