//! A tensor of a safetensors file is read as the numbers it holds or refused by name, and one that is written is read back.
//! Not a test of headers that lie: formats.rs has those.

use crate::common::files::{assert_format_error, file, written};
use half::{bf16, f16};
use lorakeet::ErrorKind;
use lorakeet::format::safetensors::Header;
use lorakeet::format::{SourceDtype, TensorData, TensorInfo};

fn tensor(dtype: SourceDtype, elements: usize, bytes: u64) -> TensorInfo {
    TensorInfo { name: "w".to_owned(), dtype, shape: vec![elements], start: 100, end: 100 + bytes }
}

/// Listing a file with a tensor of an unknown type is fine; reading that tensor is not.
#[test]
fn unknown_dtype_when_used() {
    let bytes = file(
        r#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
    );
    let header = Header::from_file_bytes(&bytes).unwrap();
    let b = header.tensor("b").unwrap();
    assert_eq!(b.read_f32(b.bytes_in(&bytes).unwrap()).unwrap(), [0.0]);
    let a = header.tensor("a").unwrap();
    let error = a.read_f32(a.bytes_in(&bytes).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `a`: dtype F8_E4M3, expected F32, F16 or BF16");
}

#[test]
fn known_dtype_of_the_wrong_sort() {
    let error = tensor(SourceDtype::Bool, 1, 1).read_f32(&[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `w`: dtype BOOL, expected F32, F16 or BF16");
    let error = tensor(SourceDtype::F16, 1, 2).read_i64(&[1, 0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `w`: dtype F16, expected I64, I32, U32 or U8");
}

#[test]
fn tensor_cut_short_on_the_way() {
    let info = tensor(SourceDtype::F32, 2, 8);
    assert_format_error(info.read_f32(&[0; 7]), "tensor `w`: 7 bytes, expected 8");
    assert_format_error(info.read_f32(&[0; 12]), "tensor `w`: 12 bytes, expected 8");
    assert_format_error(info.bytes_in(&[0; 107]), "tensor `w`: ends at byte 108 of a file of 107");
}

#[test]
fn every_f16_and_bf16_widens_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    // One byte in front: nothing may depend on alignment.
    let mut bytes = vec![0xee];
    bytes.extend(all.iter().flat_map(|bits| bits.to_le_bytes()));
    let size = bytes.len() as u64 - 1;
    let f16s = tensor(SourceDtype::F16, all.len(), size).read_f32(&bytes[1..]).unwrap();
    let bf16s = tensor(SourceDtype::BF16, all.len(), size).read_f32(&bytes[1..]).unwrap();
    for ((bits, got_f16), got_bf16) in all.into_iter().zip(f16s).zip(bf16s) {
        for (name, got, want) in [
            ("f16", got_f16, f16::from_bits(bits).to_f32()),
            ("bf16", got_bf16, bf16::from_bits(bits).to_f32()),
        ] {
            let same = if want.is_nan() { got.is_nan() } else { got.to_bits() == want.to_bits() };
            assert!(same, "{name} {bits:#06x}: {got}, expected {want}");
        }
    }
}

#[test]
fn special_values() {
    let read = |dtype, bits: u16| tensor(dtype, 1, 2).read_f32(&bits.to_le_bytes()).unwrap()[0];
    assert_eq!(read(SourceDtype::F16, 0x7c00), f32::INFINITY);
    assert_eq!(read(SourceDtype::F16, 0xfc00), f32::NEG_INFINITY);
    assert_eq!(read(SourceDtype::F16, 0x0001), 2.0f32.powi(-24));
    assert_eq!(read(SourceDtype::F16, 0x83ff), -1023.0 * 2.0f32.powi(-24));
    assert_eq!(read(SourceDtype::F16, 0x7bff), 65504.0);
    assert_eq!(read(SourceDtype::F16, 0x8000).to_bits(), (-0.0f32).to_bits());
    assert_eq!(read(SourceDtype::F16, 0x7d01).to_bits(), 0x7fa0_2000); // a signalling NaN stays one
    assert_eq!(read(SourceDtype::BF16, 0xff80), f32::NEG_INFINITY);
    assert_eq!(read(SourceDtype::BF16, 0x0001).to_bits(), 0x0001_0000);
    assert!(read(SourceDtype::BF16, 0x7f81).is_nan());
}

#[test]
fn integers() {
    let bytes: Vec<u8> = (-2i32..3).flat_map(i32::to_le_bytes).collect();
    assert_eq!(tensor(SourceDtype::I32, 5, 20).read_i64(&bytes).unwrap(), [-2, -1, 0, 1, 2]);
    let bytes: Vec<u8> = [i64::MIN, i64::MAX].into_iter().flat_map(i64::to_le_bytes).collect();
    assert_eq!(tensor(SourceDtype::I64, 2, 16).read_i64(&bytes).unwrap(), [i64::MIN, i64::MAX]);
    assert_eq!(tensor(SourceDtype::U32, 1, 4).read_i64(&[0xff; 4]).unwrap(), [0xffff_ffff]);
    assert_eq!(tensor(SourceDtype::U8, 2, 2).read_i64(&[0, 255]).unwrap(), [0, 255]);
}

#[test]
fn what_is_written_is_read_back() {
    let floats = [1.5, -0.0, f32::INFINITY, 1e-40, -7.25, 3.0];
    let bytes = written(&[
        ("z", &[2, 3], TensorData::F32(&floats)),
        ("a", &[1], TensorData::U32(&[u32::MAX])),
        ("none", &[0, 5], TensorData::F32(&[])),
    ])
    .unwrap();
    let header = Header::from_file_bytes(&bytes).unwrap();
    assert_eq!(header.metadata["by"], "us");
    let z = header.tensor("z").unwrap();
    assert_eq!((z.shape.as_slice(), z.start % 8), ([2, 3].as_slice(), 0));
    let read = z.read_f32(z.bytes_in(&bytes).unwrap()).unwrap();
    assert_eq!(read.map_bits(), floats.to_vec().map_bits());

    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.tensor("a").unwrap().data(), [0xff; 4]);
    assert_eq!(theirs.tensor("none").unwrap().shape(), [0, 5]);
    assert_eq!(theirs.len(), 3);
}

trait MapBits {
    fn map_bits(self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(self) -> Vec<u32> {
        self.into_iter().map(f32::to_bits).collect()
    }
}

#[test]
fn what_cannot_be_written() {
    let refusal = |tensors: &[(&str, &[usize], TensorData<'_>)]| {
        let error = written(tensors).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        error.to_string()
    };
    let one = TensorData::F32(&[0.0]);
    assert_eq!(refusal(&[("a", &[2], one)]), "tensor `a`: 1 elements, expected as many as shape [2] has");
    assert_eq!(
        refusal(&[("a", &[usize::MAX, 2], one)]),
        "tensor `a`: 1 elements, expected as many as shape [18446744073709551615, 2] has"
    );
    assert_eq!(refusal(&[("a", &[1], one), ("a", &[1], one)]), "tensor `a`: the name is taken");
    assert_eq!(refusal(&[("__metadata__", &[1], one)]), "tensor `__metadata__`: the name is taken");
}
