// six_bits: scales and offsets of weight_q4_k and weight_q5_k

// Six bits of each 32 elements: four in `low`, two in `high`.
fn six_bits(low: u32, high: u32, j: u32) -> f32 {
    return f32(((low >> (4u * j)) & 15u) | (((high >> (2u * j)) & 3u) << 4u));
}
