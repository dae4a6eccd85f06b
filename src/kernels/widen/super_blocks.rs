//! The numbers of ggml's blocks of 256 elements, which hold smaller blocks with scales of their own.
//! Which types there are, `blocks` says.
//!
//! A block of two scales (`d` of the codes' scales, `least` of the offsets' ones) stands for
//! d · s · code − least · m, with s and m of 4 or 6 bits for each 16 or 32 elements.

use super::{IQ4_CODES, half};

/// Elements of a block (`QK_K`).
pub(super) const LEN: usize = 256;

/// Bits `2·s..2·s + 2` of byte `e % 32` of 32 bytes for each half of the block; `s` counts runs of 32
/// elements in the half.
fn two_bits(bytes: &[u8], e: usize) -> u8 {
    bytes[e / 128 * 32 + e % 32] >> (2 * (e % 128 / 32)) & 3
}

/// Bit `e / 32` of byte `e % 32`.
fn one_bit(bytes: &[u8], e: usize) -> u8 {
    bytes[e % 32] >> (e / 32) & 1
}

/// Four bits of 32 bytes for each run of 64 elements: the low ones first.
fn four_bits(bytes: &[u8], e: usize) -> u8 {
    bytes[e / 64 * 32 + e % 32] >> (4 * (e / 32 % 2)) & 15
}

/// Scale and offset of each run of 32 elements, 6 bits each: the first four of both lie in the
/// low bits of 8 bytes, the last four in 4 bytes and what is left above the first.
fn six_bit_pairs(bytes: &[u8]) -> [(f32, f32); 8] {
    std::array::from_fn(|j| {
        let (scale, offset) = if j < 4 {
            (bytes[j] & 63, bytes[j + 4] & 63)
        } else {
            (bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4)
        };
        (f32::from(scale), f32::from(offset))
    })
}

/// 16 × (4 bits of scale, 4 of offset), 256 × 2 bits, d, least
pub(super) fn q2_k(block: &[u8; 84]) -> [f32; LEN] {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (d, least) = (half([block[80], block[81]]), half([block[82], block[83]]));
    std::array::from_fn(|e| {
        let scale = scales[e / 16];
        d * f32::from(scale & 15) * f32::from(two_bits(codes, e)) - least * f32::from(scale >> 4)
    })
}

/// 256 × the third bit, 256 × 2 bits, 16 × 6 bits of scale, d; codes less 4, scales less 32
pub(super) fn q3_k(block: &[u8; 110]) -> [f32; LEN] {
    let (third, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half([block[108], block[109]]);
    let scale = |j: usize| {
        let low = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
        let high = scales[8 + j % 4] >> (2 * (j / 4)) & 3;
        d * f32::from((low | high << 4).cast_signed() - 32)
    };
    let scales: [f32; 16] = std::array::from_fn(scale);
    std::array::from_fn(|e| {
        let code = (two_bits(codes, e) | one_bit(third, e) << 2).cast_signed() - 4;
        scales[e / 16] * f32::from(code)
    })
}

/// d, least, 8 pairs of 6 bits, 256 × 4 bits
pub(super) fn q4_k(block: &[u8; 144]) -> [f32; LEN] {
    let codes = &block[16..];
    with_offsets(block, |e| four_bits(codes, e))
}

/// d, least, 8 pairs of 6 bits, 256 × the fifth bit, 256 × 4 bits
pub(super) fn q5_k(block: &[u8; 176]) -> [f32; LEN] {
    let (fifth, codes) = (&block[16..48], &block[48..]);
    with_offsets(block, |e| four_bits(codes, e) | one_bit(fifth, e) << 4)
}

fn with_offsets(block: &[u8], code: impl Fn(usize) -> u8) -> [f32; LEN] {
    let (d, least) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let pairs = six_bit_pairs(&block[4..16]).map(|(scale, offset)| (d * scale, least * offset));
    std::array::from_fn(|e| {
        let (scale, offset) = pairs[e / 32];
        scale * f32::from(code(e)) - offset
    })
}

/// 256 × the low 4 bits, 256 × the high 2, 16 × i8 of scale, d; codes less 32
pub(super) fn q6_k(block: &[u8; 210]) -> [f32; LEN] {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half([block[208], block[209]]);
    std::array::from_fn(|e| {
        let four = low[e / 128 * 64 + e % 64] >> (4 * (e / 64 % 2)) & 15;
        let code = (four | two_bits(high, e) << 4).cast_signed() - 32;
        d * f32::from(scales[e / 16].cast_signed()) * f32::from(code)
    })
}

/// d, 8 × the high 2 bits of scale, 8 × the low 4, 256 × 4 bits; scales less 32
pub(super) fn iq4_xs(block: &[u8; 136]) -> [f32; LEN] {
    let (d, high) = (half([block[0], block[1]]), u16::from_le_bytes([block[2], block[3]]));
    let (low, codes) = (&block[4..8], &block[8..]);
    let scale = |j: usize| {
        let four = low[j / 2] >> (4 * (j % 2)) & 15;
        let two = (high >> (2 * j) & 3) as u8;
        d * f32::from((four | two << 4).cast_signed() - 32)
    };
    let scales: [f32; 8] = std::array::from_fn(scale);
    std::array::from_fn(|e| {
        // Runs of 32 have 16 bytes each: the low bits first.
        let four = codes[e / 32 * 16 + e % 16] >> (4 * (e / 16 % 2)) & 15;
        scales[e / 32] * f32::from(IQ4_CODES[usize::from(four)])
    })
}
