//! `q8`: blocks of 32 codes of 8 bits and a scale, which are ggml's `q8_0`: code · scale.
//!
//! A row is C/4 words of codes, four i8 a word, then C/64 of scales, two f16 a word.

use half::f16;

use super::{BLOCK, Coded, Elements, Packed, pair_word, plane, singles};

pub(super) const TYPE: Packed = Packed {
    name: "q8",
    unit: 2 * BLOCK,
    codes: BLOCK / 2,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: None, offsets: false, scales }),
    pack: Some(pack),
    stored: 68,
    from_stored: |row, words| {
        plane::<34>(row, 2..34, words);
        plane::<34>(row, 0..2, words);
    },
};

/// code · scale, codes i8.
#[inline(always)]
pub(crate) fn block(codes: [u8; BLOCK], scale: f32) -> [f32; BLOCK] {
    codes.map(|code| f32::from(code.cast_signed()) * scale)
}

fn scales(_: &[u32], halves: &[u32], scales: &mut [f32], _: &mut [f32]) {
    singles(halves, scales);
}

fn pack(row: &[f32], words: &mut Vec<u32>) {
    let blocks = row.as_chunks::<BLOCK>().0;
    let scales: Vec<u16> = blocks.iter().map(|block| pack_block(block, words)).collect();
    words.extend(scales.as_chunks().0.iter().map(|&pair| pair_word(pair)));
}

/// Appends 8 words of codes; the scale's bits.
fn pack_block(block: &[f32; BLOCK], words: &mut Vec<u32>) -> u16 {
    // Not `max` and `round`, which WebAssembly calls for each number.
    let most = block.iter().fold(0.0, |most, x| if x.abs() > most { x.abs() } else { most });
    let scale = most / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut codes = [0; BLOCK];
    for (code, x) in codes.iter_mut().zip(block) {
        let x = x * inverse;
        let whole = x as i32;
        let rest = x - whole as f32;
        *code = (whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)) as u8;
    }
    words.extend(codes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
    f16::from_f32(scale).to_bits()
}
