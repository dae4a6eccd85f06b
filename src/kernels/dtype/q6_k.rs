//! `q6_k` of ggml: blocks of 256 codes of 6 bits, of which each 16 have a scale s of 8 bits:
//! d · s · (code − 32). Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits: of 128 elements the first 64 in the low bits of 64 bytes,
//! the others in the high ones; C/16 words of their high two: of 128 elements bits 2j and 2j + 1 of byte i are
//! those of element 32·j + i; C/64 words of scales, four i8 a word; then C/512 of d, two f16 a word.

use super::{Coded, Elements, Packed, SUPER_BLOCK, f16_to_f32, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q6_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 16 + SUPER_BLOCK / 64,
    halves: 1,
    elements: Elements::Coded(Coded { run: RUN, codes: Some(codes), offsets: false, scales }),
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

fn codes(words: &[u32], codes: &mut [i8]) {
    const HALF: usize = SUPER_BLOCK / 4;
    let (low, rest) = words.split_at(codes.len() / 8);
    let low: &[[u8; HALF]] = bytemuck::cast_slice(low);
    let high: &[[u8; HALF / 2]] = bytemuck::cast_slice(&rest[..codes.len() / 16]);
    for ((codes, low), high) in codes.as_chunks_mut::<{ 2 * HALF }>().0.iter_mut().zip(low).zip(high) {
        for i in 0..HALF / 2 {
            let (a, b, high) = (low[i], low[i + HALF / 2], high[i]);
            codes[i] = (a & 15 | (high & 3) << 4).cast_signed() - 32;
            codes[i + HALF / 2] = (b & 15 | (high & 12) << 2).cast_signed() - 32;
            codes[i + HALF] = (a >> 4 | high & 48).cast_signed() - 32;
            codes[i + 3 * HALF / 2] = (b >> 4 | (high & 192) >> 2).cast_signed() - 32;
        }
    }
}

fn scales(words: &[u32], d: &[u32], scales: &mut [f32], _: &mut [f32]) {
    let elements = scales.len() * RUN;
    let codes: &[[i8; SUPER_BLOCK / RUN]] = bytemuck::cast_slice(&words[elements / 8 + elements / 16..]);
    let d: &[u16] = bytemuck::cast_slice(d);
    for ((scales, codes), &d) in scales.as_chunks_mut().0.iter_mut().zip(codes).zip(d) {
        *scales = codes.map(|code| f16_to_f32(d) * f32::from(code));
    }
}
