//! `q5_0` of ggml: blocks of 32 codes of 5 bits and a scale: (code − 16) · scale.
//! Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits, as `q4` has them, C/32 words of their fifth bits, the
//! first element's lowest, then C/64 of scales, two f16 a word.

use super::{BLOCK, Coded, Elements, Packed, four_bits, plane, singles};

pub(super) const TYPE: Packed = Packed {
    name: "q5_0",
    unit: BLOCK,
    codes: BLOCK / 8 + 1,
    halves: 1,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: false, scales }),
    pack: None,
    stored: 22,
    from_stored: |row, words| {
        plane::<22>(row, 6..22, words);
        plane::<22>(row, 2..6, words);
        plane::<22>(row, 0..2, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    for (codes, block) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks(words)) {
        *codes = block.map(|code| code.cast_signed() - 16);
    }
}

fn scales(_: &[u32], halves: &[u32], scales: &mut [f32], _: &mut [f32]) {
    singles(halves, scales);
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
