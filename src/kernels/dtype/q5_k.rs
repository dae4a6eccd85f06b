//! `q5_k` of ggml: `q4_k` with a fifth bit. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits, as `q4_k` has them; C/32 words of their fifth bits: of 256
//! elements bit j of byte i is that of element 32·j + i; then scales and halves as `q4_k` has them.

use super::{BLOCK, Coded, Elements, Packed, SUPER_BLOCK, plane, six_bits};

pub(super) const TYPE: Packed = Packed {
    name: "q5_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 32 + 3,
    halves: 2,
    elements: Elements::Coded(Coded { run: BLOCK, codes: Some(codes), offsets: true, scales }),
    pack: None,
    stored: 176,
    from_stored: |row, words| {
        plane::<176>(row, 48..176, words);
        plane::<176>(row, 16..48, words);
        row.as_chunks::<176>().0.iter().for_each(|block| words.extend(six_bits::words(&block[4..16])));
        plane::<176>(row, 0..4, words);
    },
};

fn codes(words: &[u32], codes: &mut [i8]) {
    let (low, rest) = words.split_at(codes.len() / 8);
    let [low, fifth]: [&[[u8; BLOCK]]; 2] = [low, &rest[..codes.len() / 32]].map(bytemuck::cast_slice);
    for (j, (codes, low)) in codes.as_chunks_mut::<{ 2 * BLOCK }>().0.iter_mut().zip(low).enumerate() {
        let (fifth, shift) = (&fifth[j / 4], 2 * (j % 4));
        for i in 0..BLOCK {
            let fifth = fifth[i] >> shift;
            codes[i] = (low[i] & 15 | (fifth & 1) << 4).cast_signed();
            codes[i + BLOCK] = (low[i] >> 4 | (fifth & 2) << 3).cast_signed();
        }
    }
}

fn scales(words: &[u32], pairs: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    let elements = scales.len() * BLOCK;
    six_bits::read(&words[elements / 8 + elements / 32..], pairs, scales, offsets);
}
