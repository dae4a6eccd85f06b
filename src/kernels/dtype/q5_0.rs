//! `q5_0` of ggml: blocks of 32 codes of 5 bits and a scale: (code − 16) · scale.
//! Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits, as `q4` has them, C/32 words of their fifth bits, the
//! first element's lowest, then C/64 of scales, two f16 a word.

use super::{BLOCK, Packed, four_bits, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q5_0",
    unit: BLOCK,
    codes: BLOCK / 8 + 1,
    halves: 1,
    pack: None,
    stored: 22,
    from_stored: |row, words| {
        plane::<22>(row, 6..22, words);
        plane::<22>(row, 2..6, words);
        plane::<22>(row, 0..2, words);
    },
};

pub(super) fn unpack(codes: &[u32], scales: &[u32], row: &mut [f32]) {
    let scales = scales.iter().flat_map(|&word| pair(word));
    for ((x, codes), scale) in row.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks(codes)).zip(scales) {
        *x = codes.map(|code| (f32::from(code) - 16.0) * scale);
    }
}

/// The codes of a row's blocks: four bits of all, then the fifth ones.
#[inline(always)]
pub(super) fn blocks(codes: &[u32]) -> impl Iterator<Item = [u8; BLOCK]> {
    let (low, fifth) = codes.split_at(codes.len() / 5 * 4);
    let low: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(low);
    low.iter().zip(fifth).map(|(&low, &fifth)| five_bits(low, fifth))
}

/// Codes by their low four bits and the fifth ones.
#[inline(always)]
pub(crate) fn five_bits(low: [u8; BLOCK / 2], fifth: u32) -> [u8; BLOCK] {
    let low = four_bits(low);
    std::array::from_fn(|i| low[i] | ((fifth >> i & 1) as u8) << 4)
}
