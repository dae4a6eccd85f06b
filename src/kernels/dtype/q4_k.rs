//! `q4_k` of ggml: blocks of 256 codes of 4 bits, of which each 32 have a scale s and an offset m of 6 bits:
//! d · s · code − least · m. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes: of 64 elements the first 32 in the low bits of 32 bytes, the others in the
//! high ones; 3 · C/256 words of scales and offsets, see `six_bits`; then C/256 of d and `least`, f16 both.

use super::{BLOCK, Packed, SUPER_BLOCK, pair, plane, six_bits};

pub(super) const TYPE: Packed = Packed {
    name: "q4_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + 3,
    halves: 2,
    pack: None,
    stored: 144,
    from_stored: |row, words| {
        plane::<144>(row, 16..144, words);
        row.as_chunks::<144>().0.iter().for_each(|block| words.extend(six_bits::words(&block[4..16])));
        plane::<144>(row, 0..4, words);
    },
};

pub(super) fn unpack(codes: &[u32], pairs: &[u32], row: &mut [f32]) {
    let (codes, scales) = codes.split_at(row.len() / 8);
    let codes: &[[u8; BLOCK]] = bytemuck::cast_slice(codes);
    let blocks = row.as_chunks_mut::<SUPER_BLOCK>().0.iter_mut().zip(codes.as_chunks::<4>().0);
    for ((x, codes), (scales, &word)) in blocks.zip(scales.as_chunks().0.iter().zip(pairs)) {
        let pairs = six_bits::pairs(scales, pair(word));
        for (j, x) in x.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let [scale, offset] = pairs[j];
            *x = codes[j / 2].map(|byte| f32::from(byte >> (4 * (j % 2)) & 15) * scale - offset);
        }
    }
}
