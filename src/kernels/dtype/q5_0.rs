//! `q5_0` of ggml: blocks of 32 codes of 5 bits and a scale: (code − 16) · scale.
//! Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits, as `q4` has them, C/32 words of their fifth bits, the
//! first element's lowest, then C/64 of scales, two f16 a word.

use super::{BLOCK, Coded, Elements, Packed, plane, singles};

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
    read(words, 16, codes);
}

fn scales(_: &[u32], halves: &[u32], scales: &mut [f32], _: &mut [f32]) {
    singles(halves, scales);
}

/// The codes of a row's blocks: four bits of all, then the fifth ones.
pub(super) fn read(words: &[u32], zero: i8, codes: &mut [i8]) {
    let (low, fifth) = words.split_at(words.len() / 5 * 4);
    let low: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(low);
    for (codes, (low, &fifth)) in codes.as_chunks_mut().0.iter_mut().zip(low.iter().zip(fifth)) {
        five_bits(low, fifth, zero, codes);
    }
}

/// Codes by their low four bits and the fifth ones.
#[inline(always)]
pub(crate) fn five_bits(low: &[u8; BLOCK / 2], fifth: u32, zero: i8, codes: &mut [i8; BLOCK]) {
    let mut fifths = [0; 4];
    for (to, bits) in fifths.iter_mut().zip(fifth.to_le_bytes()) {
        // A bit in each byte; any makes 128 of 127; at last it is 16.
        let apart = (u64::from(bits) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        *to = ((apart + 0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080) >> 3;
    }
    let fifths: [i8; BLOCK] = bytemuck::cast(fifths.map(u64::to_le));
    for i in 0..BLOCK / 2 {
        codes[i] = ((low[i] & 15).cast_signed() | fifths[i]) - zero;
        codes[i + BLOCK / 2] = ((low[i] >> 4).cast_signed() | fifths[i + BLOCK / 2]) - zero;
    }
}
