//! Little-endian bytes of a stored tensor as f32, exactly; what a file means by them, `format` says.
//! Bytes after the last whole element or block are none. Nothing is checked here.

mod blocks;
mod q3_k;

pub use blocks::Blocks;

use crate::dtype::f16_to_f32;

/// IEEE single.
pub fn f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// IEEE half.
pub fn f16(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| half(b)).collect()
}

/// The upper halves of f32.
pub fn bf16(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)).collect()
}

fn half(bytes: [u8; 2]) -> f32 {
    f16_to_f32(u16::from_le_bytes(bytes))
}
