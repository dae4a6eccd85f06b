//! `iq4_xs` of ggml: blocks of 256 codes of 4 bits that count in steps of their own, of which each 32 have a
//! scale s: d · s · step. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes, as `q4` has them; C/128 words of scales, four i8 a word, which ggml has in 6
//! bits; then C/512 of d, two f16 a word.

use super::{BLOCK, Coded, Elements, Packed, SUPER_BLOCK, f16_to_f32, four_bits, little_endian, plane};

pub(super) const TYPE: Packed = Packed {
    name: "iq4_xs",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 128,
    halves: 1,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: false, scales }),
    pack: None,
    stored: 136,
    from_stored: |row, words| {
        plane::<136>(row, 8..136, words);
        row.as_chunks::<136>().0.iter().for_each(|block| words.extend(little_endian(&six_bits(block))));
        plane::<136>(row, 0..2, words);
    },
};

/// The codes of `iq4_nl` and `iq4_xs` by their four bits (`kvalues_iq4nl`).
pub(crate) const STEPS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The high two bits of all in two bytes, the low four in four; less 32.
fn six_bits(block: &[u8; 136]) -> [u8; SUPER_BLOCK / BLOCK] {
    let high = u16::from_le_bytes([block[2], block[3]]);
    std::array::from_fn(|j| {
        let low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
        (low | ((high >> (2 * j) & 3) as u8) << 4).wrapping_sub(32)
    })
}

fn codes(words: &[u32], codes: &mut [i8]) {
    let blocks: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(&words[..codes.len() / 8]);
    for (codes, block) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        four_bits(block, 0, codes);
        codes.iter_mut().for_each(|code| *code = STEPS[*code as usize]);
    }
}

fn scales(words: &[u32], d: &[u32], scales: &mut [f32], _: &mut [f32]) {
    let codes: &[[i8; SUPER_BLOCK / BLOCK]] = bytemuck::cast_slice(&words[scales.len() * BLOCK / 8..]);
    let d: &[u16] = bytemuck::cast_slice(d);
    for ((scales, codes), &d) in scales.as_chunks_mut().0.iter_mut().zip(codes).zip(d) {
        *scales = codes.map(|code| f16_to_f32(d) * f32::from(code));
    }
}
