//! `q4`: blocks of 32 codes of 4 bits and a scale, which are ggml's `q4_0`: (code − 8) · scale.
//!
//! A row is C/8 words of codes, then C/64 of scales, two f16 a word. The 16 bytes of a block hold its
//! first half in their low four bits, its second in the high ones.

use half::f16;

use super::{BLOCK, Coded, Elements, Packed, four_bits, pair_word, plane, singles};

pub(super) const TYPE: Packed = Packed {
    name: "q4",
    unit: 2 * BLOCK,
    codes: BLOCK / 4,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: false, scales }),
    pack: Some(pack),
    stored: 36,
    from_stored: |row, words| {
        plane::<18>(row, 2..18, words);
        plane::<18>(row, 0..2, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    let blocks: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(words);
    for (codes, block) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        four_bits(block, 8, codes);
    }
}

fn scales(_: &[u32], halves: &[u32], scales: &mut [f32], _: &mut [f32]) {
    singles(halves, scales);
}

fn pack(row: &[f32], words: &mut Vec<u32>) {
    let blocks = row.as_chunks::<BLOCK>().0;
    let scales: Vec<u16> = blocks.iter().map(|block| pack_block(block, words)).collect();
    words.extend(scales.as_chunks().0.iter().map(|&pair| pair_word(pair)));
}

/// Appends 4 words of codes; the scale's bits. The element furthest from zero becomes −8.
fn pack_block(block: &[f32; BLOCK], words: &mut Vec<u32>) -> u16 {
    let most = block.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let scale = most / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let codes: [u8; BLOCK / 2] = std::array::from_fn(|i| code(block[i]) | code(block[i + BLOCK / 2]) << 4);
    words.extend(codes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
    f16::from_f32(scale).to_bits()
}
