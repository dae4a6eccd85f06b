//! NaN and infinities: in weights an error that names the tensor, in what a model computes one that
//! names the token. Never a text of token 0.

use std::path::Path;

use crate::common::backends;
use crate::common::models::{LLAMA, MODELS, load};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{Engine, EngineOptions, Loader, Pooling, Request};
use lorakeet::format::TensorInfo;
use lorakeet::format::gguf;
use lorakeet::format::safetensors::Header;
use lorakeet::{Error, ErrorKind, Result};

const IDS: [u32; 5] = [5, 90, 17, 203, 44];

fn cpu() -> Backend {
    Backend::Cpu(Cpu::new(Kernels::Fast))
}

/// The bytes of `file` with others at the end of tensor `info`.
fn patched(file: &[u8], info: &TensorInfo, value: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let end = info.end as usize;
    file[end - value.len()..end].copy_from_slice(value);
    file
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &str) {
    let error = result.err().expect(words);
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Format, words));
}

/// A file's last element of a tensor as its type stores `value`.
fn stored(info: &TensorInfo, value: f32) -> Vec<u8> {
    let bits = value.to_bits().to_le_bytes();
    match info.dtype.to_string().as_str() {
        "F32" => bits.to_vec(),
        "BF16" => bits[2..].to_vec(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_weight_that_is_no_number_ends_the_load_by_name() {
    // f32 in one file, bf16 in two, transposed ones.
    for files in [&MODELS[0], &MODELS[1], &MODELS[5]] {
        for (shard, file) in files.weights.iter().enumerate() {
            let header = Header::from_file_bytes(file).expect("valid");
            for info in &header.tensors {
                for (value, says) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")]
                {
                    let broken = patched(file, info, &stored(info, value));
                    let options = EngineOptions::default();
                    let mut loader =
                        Loader::new(files.config, None, files.tokenizer, cpu(), &options).expect("valid");
                    let words = format!("tensor `{}`: holds {says}, expected finite numbers", info.name);
                    refused(load(&mut loader, &broken), &words);
                    assert!(shard < 2);
                }
            }
        }
    }
}

/// As files and as options hold weights.
#[test]
fn so_does_one_in_a_packed_type() {
    for (name, tensors, is_scale) in [
        ("llama-q8_0", ["blk.0.ffn_down.weight", "blk.0.attn_q.weight"], true),
        ("llama-tied-q4_0", ["token_embd.weight", "blk.1.attn_k.weight"], true),
        ("qwen2-f16", ["blk.0.ffn_up.weight", "blk.0.attn_q.weight"], false),
        ("mistral-bf16", ["blk.0.ffn_up.weight", "output_norm.weight"], false),
    ] {
        let path = format!("{}/tests/fixtures/gguf/models/{name}.gguf", env!("CARGO_MANIFEST_DIR"));
        let whole = std::fs::read(Path::new(&path)).expect("a fixture");
        let header = gguf::Header::from_file_bytes(&whole).expect("valid");
        for tensor in tensors {
            let info = header.tensor(tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
            let (block, block_bytes) = info.dtype.block().expect("known");
            for dtype in [None, Some(Dtype::F32), Some(Dtype::F16), Some(Dtype::Q8), Some(Dtype::Q4)] {
                let mut broken = whole.clone();
                // The last block's scale is in front of it.
                let at = info.end as usize
                    - if is_scale { block_bytes as usize } else { block * block_bytes as usize };
                let nan: &[u8] = match info.dtype.to_string().as_str() {
                    "F32" => &[0, 0, 0xc0, 0x7f],
                    "BF16" => &[0xc0, 0x7f],
                    _ => &[0, 0x7e],
                };
                broken[at..at + nan.len()].copy_from_slice(nan);
                let options = EngineOptions { dtype, ..EngineOptions::default() };
                let open = |bytes: &[u8]| -> Result<()> {
                    let mut loader = Loader::from_gguf(&header, None, cpu(), &options)?;
                    for piece in loader.gguf_pieces(&header)? {
                        loader.load(&piece, piece.bytes_in(bytes)?)?;
                    }
                    Ok(())
                };
                open(&whole).expect("whole");
                let error = open(&broken).expect_err(tensor);
                assert_eq!(error.kind(), ErrorKind::Format, "{error}");
                let words = error.to_string();
                assert!(
                    words.starts_with("tensor `") && words.contains("holds NaN"),
                    "{name} {dtype:?}: {words}"
                );
            }
        }
    }
}

/// What a packed type cannot hold is no infinity in it.
#[test]
fn a_number_too_large_for_its_type_is_refused() {
    let row = |dtype: Dtype, most: f32| {
        let mut words = Vec::new();
        let mut values = [0.25; 64];
        values[40] = most;
        dtype.pack(&values, &mut words);
        dtype.all_finite(&words, 64)
    };
    assert!(row(Dtype::F32, f32::MAX) && !row(Dtype::F32, f32::NAN) && !row(Dtype::F32, f32::INFINITY));
    assert!(row(Dtype::F16, 65504.0) && !row(Dtype::F16, 65536.0) && !row(Dtype::F16, f32::NAN));
    assert!(row(Dtype::Q8, 127.0 * 65504.0) && !row(Dtype::Q8, -127.0 * 65536.0));
    assert!(row(Dtype::Q4, 8.0 * 65504.0) && !row(Dtype::Q4, 8.0 * 65536.0));
}

async fn generated(engine: &mut Engine, n: usize) -> Result<Vec<u32>> {
    let mut generation = engine.start(&[Request::greedy(IDS.to_vec(), n)])?;
    let mut tokens = Vec::new();
    let result = loop {
        if generation.is_finished() {
            break Ok(());
        }
        match engine.next(&mut generation).await {
            Ok(deltas) => tokens.extend(deltas.into_iter().flat_map(|delta| delta.tokens)),
            Err(e) => break Err(e),
        }
    };
    engine.end(generation);
    result.map(|()| tokens)
}

#[track_caller]
fn not_numbers<T: std::fmt::Debug>(what: &str, place: &str, result: Result<T, Error>) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Device, "{what}: {error}");
    let words = error.to_string();
    assert!(words.starts_with(place) && words.contains("NaN or infinite numbers"), "{what}: {words}");
}

/// An adapter far too strong: every way to ask ends in an error, and the next call without it works.
#[pollster::test]
async fn an_adapter_at_a_hopeless_weight_is_an_error() {
    const WHERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/adapters");
    for (files, adapters) in
        [(&LLAMA, &["llama/all-linear", "llama/qv", "llama/mlp", "llama/vo"][..]), (&MODELS[5], &["gpt2/*"])]
    {
        for adapter in adapters {
            let mut folder = Path::new(WHERE).join(adapter);
            if folder.ends_with("*") {
                // Any one of that base's that adapts its linear maps.
                let folders = std::fs::read_dir(folder.with_file_name("")).expect("a folder");
                let mut folders: Vec<_> = folders.map(|entry| entry.expect("an entry").path()).collect();
                folders.retain(|folder| folder.join("adapter_config.json").exists());
                folders.sort();
                folder = folders.swap_remove(0);
            }
            let read = |name: &str| std::fs::read(folder.join(name)).expect(name);
            let (config, weights) = (read("adapter_config.json"), read("adapter_model.safetensors"));
            for (name, backend) in backends().await {
                let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
                let fine = generated(&mut engine, 4).await.expect("the base");
                engine.load_adapter("strong", &config, &weights).await.expect("fits");
                engine.set_adapter(vec![("strong".to_owned(), 1e30)]).expect("loaded");
                let what = format!("{} of {} on {name}", folder.display(), files.name);
                not_numbers(&what, "token 1: ", generated(&mut engine, 4).await);
                // What it has left in the cache is not taken up.
                not_numbers(&what, "token 1: ", generated(&mut engine, 4).await);
                not_numbers(&what, "token 1: ", engine.logits(&IDS).await);
                not_numbers(&what, "token 1: ", engine.losses(&IDS, 1).await);
                not_numbers(&what, "token ", engine.hidden_states(&IDS, None, None).await);
                not_numbers(&what, "token ", engine.embed(&IDS, None, None, Pooling::Mean).await);
                engine.set_adapter(Vec::new()).expect("the base");
                assert_eq!(generated(&mut engine, 4).await.expect("the base"), fine, "{what}");
            }
        }
    }
}
