//! Any bytes as a GGUF file: an error, or tensors that lie inside the file, apart from each
//! other, and can be read or named; and as a model, an error or an engine. Not a check of values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{Engine, EngineOptions, Loader};
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
    let _ = open(&header, bytes);
    if let Ok(lora) = LoraFile::from_file_bytes(bytes) {
        for pair in lora.pairs.values() {
            assert_eq!(lora.scale(pair).is_ok(), pair.rank().is_ok());
        }
        let _ = lora.warnings();
    }
});

fn open(header: &Header, bytes: &[u8]) -> lorakeet::Result<Engine> {
    let options = EngineOptions { context_length: Some(8), batch: Some(1) };
    let mut loader = Loader::from_gguf(header, None, Backend::Cpu(Cpu::new(Kernels::Fast)), &options)?;
    for piece in loader.gguf_pieces(header)? {
        loader.load(&piece, piece.bytes_in(bytes)?)?;
    }
    loader.finish()
}
