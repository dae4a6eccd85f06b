//! `q6_k` of ggml: blocks of 256 codes of 6 bits, of which each 16 have a scale s of 8 bits:
//! d · s · (code − 32). Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits: of 128 elements the first 64 in the low bits of 64 bytes,
//! the others in the high ones; C/16 words of their high two: of 128 elements bits 2j and 2j + 1 of byte i are
//! those of element 32·j + i; C/64 words of scales, four i8 a word; then C/512 of d, two f16 a word.

use super::{BLOCK, Packed, SUPER_BLOCK, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q6_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 16 + SUPER_BLOCK / 64,
    halves: 1,
    pack: None,
    stored: 210,
    from_stored: |row, words| {
        plane::<210>(row, 0..128, words);
        plane::<210>(row, 128..192, words);
        plane::<210>(row, 192..208, words);
        plane::<210>(row, 208..210, words);
    },
};

/// Elements that share a scale.
const RUN: usize = 16;

pub(super) fn unpack(codes: &[u32], d: &[u32], row: &mut [f32]) {
    let (low, rest) = codes.split_at(row.len() / 8);
    let (high, scales) = rest.split_at(row.len() / 16);
    let [low, high]: [&[[u8; BLOCK]]; 2] = [low, high].map(bytemuck::cast_slice);
    let scales: &[[i8; SUPER_BLOCK / RUN]] = bytemuck::cast_slice(scales);
    let d = d.iter().flat_map(|&word| pair(word));
    let blocks = row.as_chunks_mut::<SUPER_BLOCK>().0.iter_mut().zip(low.as_chunks::<4>().0);
    for (((x, low), high), (scales, d)) in blocks.zip(high.as_chunks::<2>().0).zip(scales.iter().zip(d)) {
        for (j, x) in x.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let (low, high) = (&low[j / 4 * 2 + j % 2], &high[j / 4]);
            let code = |i: usize| low[i] >> (4 * (j / 2 % 2)) & 15 | (high[i] >> (2 * (j % 4)) & 3) << 4;
            let scale = [d * f32::from(scales[2 * j]), d * f32::from(scales[2 * j + 1])];
            *x = std::array::from_fn(|i| scale[i / RUN] * (f32::from(code(i)) - 32.0));
        }
    }
}
