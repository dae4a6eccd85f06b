//! `q4_k` of ggml: blocks of 256 codes of 4 bits, of which each 32 have a scale s and an offset m of 6 bits:
//! d · s · code − least · m. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes: of 64 elements the first 32 in the low bits of 32 bytes, the others in the
//! high ones; 3 · C/256 words of scales and offsets, see `six_bits`; then C/256 of d and `least`, f16 both.

use super::{BLOCK, Coded, Elements, Packed, SUPER_BLOCK, plane, six_bits};

pub(super) const TYPE: Packed = Packed {
    name: "q4_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + 3,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: true, scales }),
    pack: None,
    stored: 144,
    from_stored: |row, words| {
        plane::<144>(row, 16..144, words);
        row.as_chunks::<144>().0.iter().for_each(|block| words.extend(six_bits::words(&block[4..16])));
        plane::<144>(row, 0..4, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    let blocks: &[[u8; BLOCK]] = bytemuck::cast_slice(&words[..codes.len() / 8]);
    for (codes, block) in codes.as_chunks_mut::<{ 2 * BLOCK }>().0.iter_mut().zip(blocks) {
        for i in 0..BLOCK {
            codes[i] = (block[i] & 15).cast_signed();
            codes[i + BLOCK] = (block[i] >> 4).cast_signed();
        }
    }
}

fn scales(words: &[u32], pairs: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    six_bits::read(&words[scales.len() * BLOCK / 8..], pairs, scales, offsets);
}
