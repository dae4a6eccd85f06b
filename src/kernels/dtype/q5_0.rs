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

/// The fifth bits of eight codes, by the byte that has them: taken apart one by one they take most of the time.
static FIFTHS: [[i8; 8]; 256] = {
    let mut all = [[0; 8]; 256];
    let mut i = 0;
    while i < 256 * 8 {
        all[i / 8][i % 8] = ((((i / 8) >> (i % 8)) & 1) << 4) as i8;
        i += 1;
    }
    all
};

/// Codes by their low four bits and the fifth ones.
#[inline(always)]
pub(crate) fn five_bits(low: &[u8; BLOCK / 2], fifth: u32, zero: i8, codes: &mut [i8; BLOCK]) {
    // Eight at a time: gathered in memory first, they would be waited for.
    for (i, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (low, shift) = (&low.as_chunks::<8>().0[i % 2], i / 2 * 4);
        let fifths = &FIFTHS[usize::from(fifth.to_le_bytes()[i])];
        for j in 0..8 {
            codes[j] = ((low[j] >> shift & 15).cast_signed() | fifths[j]) - zero;
        }
    }
}
