//! `q4_1` of ggml: blocks of 32 codes of 4 bits, a scale and a least number: code · scale + least.
//! Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of codes, as `q4` has them, then C/32 words of a scale and a least number, f16 both.

use super::{BLOCK, Packed, four_bits, pair, plane};

pub(super) const TYPE: Packed = Packed {
    name: "q4_1",
    unit: BLOCK,
    codes: BLOCK / 8,
    halves: 2,
    pack: None,
    stored: 20,
    from_stored: |row, words| {
        plane::<20>(row, 4..20, words);
        plane::<20>(row, 0..4, words);
    },
};

/// code · scale + least, the codes in four bits.
#[inline(always)]
fn block(codes: [u8; BLOCK / 2], [scale, least]: [f32; 2]) -> [f32; BLOCK] {
    four_bits(codes).map(|code| f32::from(code) * scale + least)
}

pub(super) fn unpack(codes: &[u32], pairs: &[u32], row: &mut [f32]) {
    let codes: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(codes);
    let blocks = row.as_chunks_mut::<BLOCK>().0;
    blocks.iter_mut().zip(codes).zip(pairs).for_each(|((x, codes), &word)| *x = block(*codes, pair(word)));
}
