//! `iq4_xs` of ggml: blocks of 256 codes of 4 bits that count in steps of their own, of which each 32 have a
//! scale s: d · s · step. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes, as `q4` has them; C/128 words of scales, four i8 a word, which ggml has in 6
//! bits; then C/512 of d, two f16 a word.

use super::{BLOCK, Packed, SUPER_BLOCK, four_bits, little_endian, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "iq4_xs",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 128,
    halves: 1,
    pack: None,
    stored: 136,
    from_stored: |row, words| {
        plane::<136>(row, 8..136, words);
        row.as_chunks::<136>().0.iter().for_each(|block| words.extend(little_endian(&scales(block))));
        plane::<136>(row, 0..2, words);
    },
};

/// The codes of `iq4_nl` and `iq4_xs` by their four bits (`kvalues_iq4nl`).
pub(crate) const STEPS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The high two bits of all in two bytes, the low four in four; less 32.
fn scales(block: &[u8; 136]) -> [u8; SUPER_BLOCK / BLOCK] {
    let high = u16::from_le_bytes([block[2], block[3]]);
    std::array::from_fn(|j| {
        let low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
        (low | ((high >> (2 * j) & 3) as u8) << 4).wrapping_sub(32)
    })
}

pub(super) fn unpack(codes: &[u32], d: &[u32], row: &mut [f32]) {
    let (codes, scales) = codes.split_at(row.len() / 8);
    let codes: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(codes);
    let scales: &[[i8; SUPER_BLOCK / BLOCK]] = bytemuck::cast_slice(scales);
    let d = d.iter().flat_map(|&word| pair(word));
    let blocks = row.as_chunks_mut::<SUPER_BLOCK>().0.iter_mut().zip(codes.as_chunks::<8>().0);
    for ((x, codes), (scales, d)) in blocks.zip(scales.iter().zip(d)) {
        for ((x, codes), &scale) in x.as_chunks_mut::<BLOCK>().0.iter_mut().zip(codes).zip(scales) {
            let scale = d * f32::from(scale);
            *x = four_bits(*codes).map(|code| scale * f32::from(STEPS[usize::from(code)]));
        }
    }
}
