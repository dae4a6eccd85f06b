//! `q5_1` of ggml: blocks of 32 codes of 5 bits, a scale and a least number: code · scale + least.
//! Files alone make it: it cannot be asked for.
//!
//! A row is words of codes as `q5_0` has them, then C/32 words of a scale and a least number, f16 both.

use super::{BLOCK, Packed, pair, plane, q5_0};

pub(super) const TYPE: Packed = Packed {
    name: "q5_1",
    unit: BLOCK,
    codes: BLOCK / 8 + 1,
    halves: 2,
    pack: None,
    stored: 24,
    from_stored: |row, words| {
        plane::<24>(row, 8..24, words);
        plane::<24>(row, 4..8, words);
        plane::<24>(row, 0..4, words);
    },
};

pub(super) fn unpack(codes: &[u32], pairs: &[u32], row: &mut [f32]) {
    let blocks = row.as_chunks_mut::<BLOCK>().0.iter_mut();
    for ((x, codes), &word) in blocks.zip(q5_0::blocks(codes)).zip(pairs) {
        let [scale, least] = pair(word);
        *x = codes.map(|code| f32::from(code) * scale + least);
    }
}
