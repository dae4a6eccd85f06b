//! The scales and offsets of `q4_k` and `q5_k`: of each 32 of a block's 256 elements a pair of 6 bits, in three
//! words. The words are ours: ggml has the same bits in another order, which is harder to take apart.
//!
//! Four bits of each scale, the first in the lowest; four of each offset; then two of each scale, and two
//! of each offset.

use super::{BLOCK, pair};

/// Blocks in a block of blocks.
const PAIRS: usize = super::SUPER_BLOCK / BLOCK;

/// 12 bytes as ggml has them: the first four of both in the low six bits of 8 bytes, the last four in 4
/// bytes and what is left above the first.
pub(super) fn words(bytes: &[u8]) -> [u32; 3] {
    let mut words = [0; 3];
    for j in 0..PAIRS {
        let [scale, offset] = if j < 4 {
            [bytes[j] & 63, bytes[j + 4] & 63]
        } else {
            [bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4]
        }
        .map(u32::from);
        words[0] |= (scale & 15) << (4 * j);
        words[1] |= (offset & 15) << (4 * j);
        words[2] |= scale >> 4 << (2 * j) | offset >> 4 << (2 * j + 16);
    }
    words
}

/// The scales and offsets of whole rows; a word of d and `least`, f16 both, for each three.
pub(super) fn read(words: &[u32], halves: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    let to = scales.as_chunks_mut::<PAIRS>().0.iter_mut().zip(offsets.as_chunks_mut::<PAIRS>().0);
    for ((scales, offsets), (&[low, low_offsets, high], &half)) in
        to.zip(words.as_chunks().0.iter().zip(halves))
    {
        let [d, least] = pair(half);
        for j in 0..PAIRS {
            let six = |low: u32, high: u32| (low >> (4 * j) & 15 | (high >> (2 * j) & 3) << 4) as f32;
            scales[j] = d * six(low, high);
            offsets[j] = least * six(low_offsets, high >> 16);
        }
    }
}
