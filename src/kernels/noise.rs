//! Noise that is a function of its arguments alone, as `shaders/shared/noise.wgsl` and `shaders/sample.wgsl` have it.
//! It has no state, and keeps no secret.

/// Standard Gumbel noise −ln(−ln u), u uniform in (0, 1).
pub fn gumbel(seed: u32, pos: u32, token: u32) -> f32 {
    -(-uniform(seed, pos, token).ln()).ln()
}

/// Uniform in (0, 1).
pub fn uniform(seed: u32, pos: u32, token: u32) -> f32 {
    let bits = mix(seed ^ mix(pos ^ mix(token))) >> 9;
    (bits as f32 + 0.5) / (1 << 23) as f32
}

/// A 32-bit mixer with low bias (constants: nullprogram.com, "Prospecting for Hash Functions").
pub(crate) fn mix(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}
