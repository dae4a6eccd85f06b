//! `q3_k` of ggml as `q6_k`, which holds the same numbers: blocks of 256 codes of 3 bits, of which each 16 have a
//! scale of 6. Only bits are moved.

/// Bits `2·s..2·s + 2` of byte `e % 32` of 32 bytes for each half of the block; `s` counts runs of 32
/// elements in the half.
fn two_bits(bytes: &[u8], e: usize) -> u8 {
    bytes[e / 128 * 32 + e % 32] >> (2 * (e % 128 / 32)) & 3
}

/// Bit `e / 32` of byte `e % 32`.
fn one_bit(bytes: &[u8], e: usize) -> u8 {
    bytes[e % 32] >> (e / 32) & 1
}

/// Blocks of 256 × the third bit, 256 × 2 bits, 16 × 6 bits of scale, d, codes less 4 and scales less 32, as
/// blocks of `q6_k` that stand for the same numbers: its scales have 8 bits, and its codes are less 32.
pub(super) fn q6_k_of_q3_k(bytes: &[u8]) -> Vec<u8> {
    let mut recoded = Vec::with_capacity(bytes.len() / 110 * 210);
    for block in bytes.as_chunks::<110>().0 {
        let (third, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
        let code = |e: usize| (two_bits(codes, e) | one_bit(third, e) << 2) + 28;
        let scale = |j: usize| {
            let low = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
            let high = scales[8 + j % 4] >> (2 * (j / 4)) & 3;
            (low | high << 4).wrapping_sub(32)
        };
        // Of each half of the block, 128 elements: bytes i of four bits, and of two.
        recoded.extend((0..128).map(|i| {
            let e = i / 64 * 128 + i % 64;
            code(e) & 15 | (code(e + 64) & 15) << 4
        }));
        recoded.extend((0..64).map(|i| {
            let e = i / 32 * 128 + i % 32;
            (0..4).fold(0, |byte, j| byte | code(e + 32 * j) >> 4 << (2 * j))
        }));
        recoded.extend((0..16).map(scale));
        recoded.extend(&block[108..]);
    }
    recoded
}
