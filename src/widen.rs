//! Little-endian bytes of a stored tensor as f32, exactly; what a file means by them, `format` says.
//! Bytes after the last whole element or block are none. Nothing is checked here.

use crate::dtype::{f16_to_f32, q4, q8};

/// IEEE single.
pub fn f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// IEEE half.
pub fn f16(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f16_to_f32(u16::from_le_bytes(b))).collect()
}

/// The upper halves of f32.
pub fn bf16(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)).collect()
}

/// ggml's blocks of a scale (f16) and 32 × i8 (`dequantize_row_q8_0`): w = scale · q.
pub fn q8_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref codes @ ..]: &[u8; 34]| q8(*codes, f16_to_f32(u16::from_le_bytes([s0, s1])));
    bytes.as_chunks().0.iter().flat_map(block).collect()
}

/// ggml's blocks of a scale (f16) and 16 bytes (`dequantize_row_q4_0`).
pub fn q4_0(bytes: &[u8]) -> Vec<f32> {
    let block = |&[s0, s1, ref codes @ ..]: &[u8; 18]| q4(*codes, f16_to_f32(u16::from_le_bytes([s0, s1])));
    bytes.as_chunks().0.iter().flat_map(block).collect()
}
