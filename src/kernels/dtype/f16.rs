//! `f16`: IEEE half, two elements a word, the first in the low half. No codes.

use half::f16;

use super::{BLOCK, Elements, Packed, little_endian, pair_word};

pub(super) const TYPE: Packed = Packed {
    name: "f16",
    unit: 2 * BLOCK,
    codes: 0,
    halves: 2 * BLOCK,
    elements: Elements::Halves,
    pack: Some(pack),
    stored: 128,
    from_stored: |row, words| words.extend(little_endian(row)),
};

/// To the nearest.
fn pack(row: &[f32], words: &mut Vec<u32>) {
    let halves: Vec<u16> = row.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
    words.extend(halves.as_chunks().0.iter().map(|&pair| pair_word(pair)));
}

/// Exact. Without a branch, so that it vectorises: shifted into place, an f16's bits are an
/// f32 whose exponent is 112 too small, subnormals included; a product by 2¹¹² mends that.
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(half & 0x7fff) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let special = if magnitude >= 0x1f << 23 { 0xff << 23 } else { 0 };
    let finite = (f32::from_bits(magnitude) * TWO_TO_112).to_bits();
    f32::from_bits(sign | finite | special)
}
