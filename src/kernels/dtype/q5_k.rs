//! `q5_k` of ggml: `q4_k` with a fifth bit. Files alone make it: it cannot be asked for.
//!
//! A row is C/8 words of the codes' low four bits, as `q4_k` has them; C/32 words of their fifth bits: of 256
//! elements bit j of byte i is that of element 32·j + i; then scales and halves as `q4_k` has them.

use super::{BLOCK, Packed, SUPER_BLOCK, pair, plane, six_bits};

pub(super) const TYPE: Packed = Packed {
    name: "q5_k",
    unit: SUPER_BLOCK,
    codes: SUPER_BLOCK / 8 + SUPER_BLOCK / 32 + 3,
    halves: 2,
    pack: None,
    stored: 176,
    from_stored: |row, words| {
        plane::<176>(row, 48..176, words);
        plane::<176>(row, 16..48, words);
        row.as_chunks::<176>().0.iter().for_each(|block| words.extend(six_bits::words(&block[4..16])));
        plane::<176>(row, 0..4, words);
    },
};

pub(super) fn unpack(codes: &[u32], pairs: &[u32], row: &mut [f32]) {
    let (codes, rest) = codes.split_at(row.len() / 8);
    let (fifth, scales) = rest.split_at(row.len() / 32);
    let [codes, fifth]: [&[[u8; BLOCK]]; 2] = [codes, fifth].map(bytemuck::cast_slice);
    let blocks = row.as_chunks_mut::<SUPER_BLOCK>().0.iter_mut().zip(codes.as_chunks::<4>().0).zip(fifth);
    for (((x, codes), fifth), (scales, &word)) in blocks.zip(scales.as_chunks().0.iter().zip(pairs)) {
        let pairs = six_bits::pairs(scales, pair(word));
        for (j, x) in x.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let [scale, offset] = pairs[j];
            let code = |i: usize| codes[j / 2][i] >> (4 * (j % 2)) & 15 | (fifth[i] >> j & 1) << 4;
            *x = std::array::from_fn(|i| f32::from(code(i)) * scale - offset);
        }
    }
}
