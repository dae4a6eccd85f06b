//! `q4_1` of ggml: blocks of 32 codes of 4 bits, a scale and a least number: code · scale + least.
//! Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes, as `q4` has them, then C/32 words of a scale and a least number, f16 both.

use super::{BLOCK, Coded, Elements, Packed, four_bits, plane, scales_and_least};

pub(super) const TYPE: Packed = Packed {
    name: "q4_1",
    unit: BLOCK,
    codes: BLOCK / 8,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: true, scales }),
    pack: None,
    stored: 20,
    from_stored: |row, words| {
        plane::<20>(row, 4..20, words);
        plane::<20>(row, 0..4, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    let blocks: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(words);
    for (codes, block) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        four_bits(block, 0, codes);
    }
}

fn scales(_: &[u32], pairs: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    scales_and_least(pairs, scales, offsets);
}
