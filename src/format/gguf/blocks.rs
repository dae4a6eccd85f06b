//! Quantised blocks of ggml as numbers: w = scale · q, 32 at a time.
//! Followed from `ggml-common.h` and `dequantize_row_*` of ggml.

use crate::dtype::f16_to_f32;

/// Blocks of a scale (f16) and 32 × i8; bytes after the last whole block are no block.
pub(in crate::format) fn q8_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref quants @ ..]: &[u8; 34]| {
        let scale = f16_to_f32(u16::from_le_bytes([s0, s1]));
        <[u8; 32]>::map(*quants, |q| scale * f32::from(q.cast_signed()))
    };
    bytes.as_chunks().0.iter().flat_map(block).collect()
}

/// Blocks of a scale (f16) and 16 bytes, whose low nibbles are the first 16 elements and whose
/// high ones the last, 8 standing for 0; bytes after the last whole block are no block.
pub(in crate::format) fn q4_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref pairs @ ..]: &[u8; 18]| {
        let scale = f16_to_f32(u16::from_le_bytes([s0, s1]));
        let [low, high] = [0, 4]
            .map(|shift| <[u8; 16]>::map(*pairs, |pair| scale * (f32::from(pair >> shift & 0xf) - 8.0)));
        low.into_iter().chain(high)
    };
    bytes.as_chunks().0.iter().flat_map(block).collect()
}
