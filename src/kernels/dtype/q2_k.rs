//! `q2_k` of ggml: blocks of 256 codes of 2 bits, of which each 16 have a scale s and an offset m of 4 bits:
//! d · s · code − least · m. Files alone make it: it cannot be asked for.
//!
//! A row is C/16 words of codes: of 128 elements bits 2j and 2j + 1 of byte i are those of element 32·j + i; C/64
//! words of scales in the low bits of a byte and offsets in the high ones; then C/256 of d and `least`, f16
//! both.

use super::{BLOCK, Packed, SUPER_BLOCK, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q2_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 16 + SUPER_BLOCK / 64,
    halves: 2,
    pack: None,
    stored: 84,
    from_stored: |row, words| {
        plane::<84>(row, 16..80, words);
        plane::<84>(row, 0..16, words);
        plane::<84>(row, 80..84, words);
    },
};

/// Elements that share a scale.
const RUN: usize = 16;

pub(super) fn unpack(codes: &[u32], pairs: &[u32], row: &mut [f32]) {
    let (codes, scales) = codes.split_at(row.len() / 16);
    let codes: &[[u8; BLOCK]] = bytemuck::cast_slice(codes);
    let scales: &[[u8; SUPER_BLOCK / RUN]] = bytemuck::cast_slice(scales);
    let blocks = row.as_chunks_mut::<SUPER_BLOCK>().0.iter_mut().zip(codes.as_chunks::<2>().0);
    for ((x, codes), (scales, &word)) in blocks.zip(scales.iter().zip(pairs)) {
        let [d, least] = pair(word);
        for (j, x) in x.as_chunks_mut::<RUN>().0.iter_mut().enumerate() {
            let (scale, offset) = (d * f32::from(scales[j] & 15), least * f32::from(scales[j] >> 4));
            let codes = &codes[j / 8][j % 2 * RUN..][..RUN];
            let code = |i: usize| codes[i] >> (2 * (j / 2 % 4)) & 3;
            *x = std::array::from_fn(|i| scale * f32::from(code(i)) - offset);
        }
    }
}
