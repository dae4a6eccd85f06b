//! `q2_k` of ggml: blocks of 256 codes of 2 bits, of which each 16 have a scale s and an offset m of 4 bits:
//! d · s · code − least · m. Files alone make it: it cannot be asked for.
//!
//! A row is C/16 words of codes: of 128 elements bits 2j and 2j + 1 of byte i are those of element 32·j + i; C/64
//! words of scales in the low bits of a byte and offsets in the high ones; then C/256 of d and `least`, f16
//! both.

use super::{BLOCK, Coded, Elements, Packed, SUPER_BLOCK, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q2_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 16 + SUPER_BLOCK / 64,
    halves: 2,
    elements: Elements::Coded(Coded { run: RUN, codes: Some(codes), offsets: true, scales }),
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

fn codes(words: &[u32], codes: &mut [i8]) {
    let blocks: &[[u8; BLOCK]] = bytemuck::cast_slice(&words[..codes.len() / 16]);
    for (codes, block) in codes.as_chunks_mut::<{ 4 * BLOCK }>().0.iter_mut().zip(blocks) {
        for (j, codes) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            codes.iter_mut().zip(block).for_each(|(code, bits)| *code = (bits >> (2 * j) & 3).cast_signed());
        }
    }
}

fn scales(words: &[u32], pairs: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    const RUNS: usize = SUPER_BLOCK / RUN;
    let codes: &[[u8; RUNS]] = bytemuck::cast_slice(&words[scales.len()..]);
    let to = scales.as_chunks_mut::<RUNS>().0.iter_mut().zip(offsets.as_chunks_mut::<RUNS>().0);
    for ((scales, offsets), (codes, &word)) in to.zip(codes.iter().zip(pairs)) {
        let [d, least] = pair(word);
        *scales = codes.map(|bits| d * f32::from(bits & 15));
        *offsets = codes.map(|bits| least * f32::from(bits >> 4));
    }
}
