//! Quantised blocks of ggml as numbers: w = scale · q, 32 at a time.
//! Followed from `ggml-common.h` and `dequantize_row_*` of ggml.

use crate::dtype::{f16_to_f32, q4, q8};

/// Blocks of a scale (f16) and 32 × i8; bytes after the last whole block are no block.
pub(in crate::format) fn q8_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref codes @ ..]: &[u8; 34]| q8(*codes, f16_to_f32(u16::from_le_bytes([s0, s1])));
    bytes.as_chunks().0.iter().flat_map(block).collect()
}

/// Blocks of a scale (f16) and 16 bytes; bytes after the last whole block are no block.
pub(in crate::format) fn q4_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref codes @ ..]: &[u8; 18]| q4(*codes, f16_to_f32(u16::from_le_bytes([s0, s1])));
    bytes.as_chunks().0.iter().flat_map(block).collect()
}
