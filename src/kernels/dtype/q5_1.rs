//! `q5_1` of ggml: blocks of 32 codes of 5 bits, a scale and a least number: code · scale + least.
//! Files alone make it: it cannot be asked for.
//!
//! A row is words of codes as `q5_0` has them, then C/32 words of a scale and a least number, f16 both.

use super::{BLOCK, Coded, Elements, Packed, plane, q5_0, scales_and_least};

pub(super) const TYPE: Packed = Packed {
    name: "q5_1",
    unit: BLOCK,
    codes: BLOCK / 8 + 1,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: true, scales }),
    pack: None,
    stored: 24,
    from_stored: |row, words| {
        plane::<24>(row, 8..24, words);
        plane::<24>(row, 4..8, words);
        plane::<24>(row, 0..4, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    q5_0::read(words, 0, codes);
}

fn scales(_: &[u32], pairs: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    scales_and_least(pairs, scales, offsets);
}
