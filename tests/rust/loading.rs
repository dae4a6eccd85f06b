//! Files that do not fit each other: typed errors that name the thing, and never a panic.

use crate::common::models::{LLAMA, ModelFiles, load};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{Engine, EngineOptions, Loader};
use lorakeet::format::safetensors::Header;
use lorakeet::format::{TensorData, write};
use lorakeet::{ErrorKind, Result};
use serde_json::{Value, json};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::new(Kernels::Fast))
}

fn open(config: &[u8], tokenizer: &[u8], weights: &[u8]) -> Result<Engine> {
    let mut loader = Loader::new(config, None, tokenizer, cpu(), &EngineOptions::default())?;
    load(&mut loader, weights)?;
    loader.finish()
}

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

fn weights(files: &ModelFiles) -> Tensors {
    let read = |file: &[u8]| -> Tensors {
        let header = Header::from_file_bytes(file).expect("valid");
        let tensor = |info: &lorakeet::format::TensorInfo| {
            let values = info.read_f32(info.bytes_in(file).expect("in the file")).expect("floats");
            (info.name.clone(), info.shape.clone(), values)
        };
        header.tensors.iter().map(tensor).collect()
    };
    files.weights.iter().flat_map(|file| read(file)).collect()
}

fn to_file(tensors: &Tensors) -> Vec<u8> {
    let list: Vec<_> = tensors.iter().map(|(n, s, v)| (n.clone(), s.clone(), TensorData::F32(v))).collect();
    write(&list, &Default::default()).expect("valid")
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: ErrorKind, words: &str) {
    let error = result.err().expect(words);
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
}

#[test]
fn a_missing_tensor_is_named() {
    let mut tensors = weights(&LLAMA);
    tensors.retain(|(name, ..)| name != "model.layers.1.mlp.up_proj.weight");
    let result = open(LLAMA.config, LLAMA.tokenizer, &to_file(&tensors));
    refused(result, ErrorKind::Mismatch, "tensor `model.layers.1.mlp.up_proj.weight` is missing");
    tensors.retain(|(name, ..)| !name.contains("norm"));
    let result = open(LLAMA.config, LLAMA.tokenizer, &to_file(&tensors));
    refused(
        result,
        ErrorKind::Mismatch,
        "tensor `model.layers.0.input_layernorm.weight` is missing, and 7 more",
    );
}

#[test]
fn a_tensor_the_architecture_lacks_is_named() {
    let mut tensors = weights(&LLAMA);
    tensors.push(("model.layers.0.self_attn.q_proj.bias".into(), vec![48], vec![0.5; 48]));
    let result = open(LLAMA.config, LLAMA.tokenizer, &to_file(&tensors));
    let words =
        "tensor `model.layers.0.self_attn.q_proj.bias`: the architecture in config.json has no such tensor";
    refused(result, ErrorKind::Mismatch, words);
}

/// A checkpoint whose config was lost or cleaned: its tensors tell, in whatever order they come.
#[test]
fn weights_that_another_library_quantised_are_refused_by_its_name() {
    const INSTEAD: &str = "take the model as it was before, with `dtype` q8 or q4, or a GGUF file of it";
    for (end, by) in [
        ("qweight", "GPTQ or AWQ"),
        ("qzeros", "GPTQ or AWQ"),
        ("scales", "GPTQ, AWQ or MLX"),
        ("biases", "MLX"),
        ("SCB", "bitsandbytes"),
        ("weight.absmax", "bitsandbytes"),
        ("weight.quant_map", "bitsandbytes"),
        ("weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("weight_packed", "compressed-tensors"),
        ("q_weight", "EXL2"),
        ("W_q", "HQQ"),
    ] {
        let name = format!("model.layers.0.self_attn.q_proj.{end}");
        let mut tensors = weights(&LLAMA);
        tensors.insert(0, (name.clone(), vec![4], vec![0.5; 4]));
        let result = open(LLAMA.config, LLAMA.tokenizer, &to_file(&tensors));
        let words = format!("tensor `{name}`: weights quantised by {by} are not supported; {INSTEAD}");
        refused(result, ErrorKind::Unsupported, &words);
    }
    // The codes may come before what tells whose they are.
    let name = "model.layers.0.self_attn.q_proj.weight";
    let codes = [(name.to_owned(), vec![4], TensorData::U32(&[1, 2, 3, 4]))];
    let file = write(&codes, &Default::default()).expect("a file");
    let result = open(LLAMA.config, LLAMA.tokenizer, &file);
    let words =
        format!("tensor `{name}`: U32, expected floats: quantised checkpoints are not supported; {INSTEAD}");
    refused(result, ErrorKind::Unsupported, &words);
}

#[test]
fn a_config_that_contradicts_the_weights_is_refused() {
    let mut config: Value = serde_json::from_slice(LLAMA.config).expect("JSON");
    config["intermediate_size"] = json!(47);
    let result = open(config.to_string().as_bytes(), LLAMA.tokenizer, LLAMA.weights[0]);
    let words = "tensor `model.layers.0.mlp.down_proj.weight`: shape [42, 46], expected [42, 47]";
    refused(result, ErrorKind::Mismatch, words);
}

#[test]
fn a_tokenizer_too_big_for_the_vocabulary_is_refused() {
    let mut config: Value = serde_json::from_slice(LLAMA.config).expect("JSON");
    config["vocab_size"] = json!(299);
    let result = open(config.to_string().as_bytes(), LLAMA.tokenizer, LLAMA.weights[0]);
    let words = "tokenizer: 300 tokens, expected at most the model's vocab_size 299";
    refused(result, ErrorKind::Mismatch, words);
}

#[test]
fn a_head_beside_a_tied_embedding_is_ignored_and_masks_too() {
    let mut tensors = weights(&LLAMA);
    tensors.push(("model.layers.0.self_attn.rotary_emb.inv_freq".into(), vec![4], vec![9.0; 4]));
    open(LLAMA.config, LLAMA.tokenizer, &to_file(&tensors)).expect("a buffer, not a weight");
    let mut config: Value = serde_json::from_slice(LLAMA.config).expect("JSON");
    config["tie_word_embeddings"] = json!(true);
    open(config.to_string().as_bytes(), LLAMA.tokenizer, LLAMA.weights[0]).expect("the copy is declined");
}

#[test]
fn a_truncated_weight_file_is_a_format_error() {
    let whole = LLAMA.weights[0];
    for cut in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        let error = open(LLAMA.config, LLAMA.tokenizer, &whole[..cut]).expect_err("truncated");
        assert_eq!(error.kind(), ErrorKind::Format, "{cut}: {error}");
    }
}

#[test]
fn a_piece_of_the_wrong_length_is_a_format_error() {
    let loader = Loader::new(LLAMA.config, None, LLAMA.tokenizer, cpu(), &EngineOptions::default());
    let mut loader = loader.expect("valid");
    let header = Header::from_file_bytes(LLAMA.weights[0]).expect("valid");
    let piece = loader.pieces(&header.tensors[0]).expect("expected").remove(0);
    let error = loader.load(&piece, &[0; 3]).expect_err("three bytes");
    assert_eq!(error.kind(), ErrorKind::Format, "{error}");
}

#[test]
fn options_out_of_range_are_refused() {
    let open = |context_length, batch| {
        let options = EngineOptions { context_length, batch, ..EngineOptions::default() };
        LLAMA.open(cpu(), &options).map(|_| ())
    };
    refused(open(Some(1), None), ErrorKind::Argument, "context length 1, expected at least 2");
    refused(open(None, Some(0)), ErrorKind::Argument, "batch 0, expected 1 to 128");
    refused(open(None, Some(129)), ErrorKind::Argument, "batch 129, expected 1 to 128");
    let gpt2 = &crate::common::models::MODELS[5];
    let options = EngineOptions { context_length: Some(129), batch: None, ..EngineOptions::default() };
    let result = gpt2.open(cpu(), &options);
    refused(result, ErrorKind::Argument, "context length 129, the model has 128 positions");
}

#[test]
fn generation_config_names_the_end_tokens() {
    let open = |json: &str| {
        Loader::new(LLAMA.config, Some(json.as_bytes()), LLAMA.tokenizer, cpu(), &EngineOptions::default())
            .map(|_| ())
    };
    open(r#"{"eos_token_id": [5, 6]}"#).expect("valid");
    refused(
        open(r#"{"eos_token_id": 300}"#),
        ErrorKind::Mismatch,
        "config.json: eos_token_id 300, expected below vocab_size 300",
    );
    assert_eq!(open("no JSON").expect_err("no JSON").kind(), ErrorKind::Format);
}
