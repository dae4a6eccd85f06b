//! Any bytes as a safetensors file: an error, or tensors that lie inside the file and can be
//! read. Not a check of their values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::format::safetensors::Header;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::from_file_bytes(bytes) else { return };
    let mut end = header.tensors.first().map_or(bytes.len() as u64, |tensor| tensor.start);
    for tensor in &header.tensors {
        assert_eq!(tensor.start, end);
        end = tensor.end;
        let bytes = tensor.bytes_in(bytes).expect("a validated tensor lies in its file");
        let elements: usize = tensor.shape.iter().product();
        for read in [tensor.read_f32(bytes).map(|v| v.len()), tensor.read_i64(bytes).map(|v| v.len())] {
            assert!(read.is_err() || read == Ok(elements));
        }
    }
    assert_eq!(end, bytes.len() as u64);
});
