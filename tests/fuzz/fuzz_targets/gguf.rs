//! Any bytes as a GGUF file: an error, or tensors that lie inside the file, apart from each
//! other, and can be read or named. Not a check of their values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::format::gguf::{Header, LoraFile};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::from_file_bytes(bytes) else { return };
    let mut spans: Vec<_> = header.tensors.iter().map(|t| (t.start, t.end)).filter(|(a, b)| a < b).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for tensor in &header.tensors {
        let values = tensor.read_f32(tensor.bytes_in(bytes).expect("a validated tensor lies in its file"));
        assert!(values.is_err() || values.map(|v| v.len()) == Ok(tensor.shape.iter().product()));
    }
    if let Ok(lora) = LoraFile::from_file_bytes(bytes) {
        for pair in lora.pairs.values() {
            assert_eq!(lora.scale(pair).is_ok(), pair.rank().is_ok());
        }
        let _ = lora.warnings();
    }
});
