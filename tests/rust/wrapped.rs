//! Models of texts and images, of which the text part is loaded: their configs, both spellings of their tensors,
//! and adapters made on them. What the text part computes is judged by `models`.

use crate::common::models::{MODELS, ModelFiles, load};
use crate::common::{Fixture, Tolerance, assert_close};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{EngineOptions, Loader};
use lorakeet::format::safetensors::Header;
use lorakeet::format::{TensorData, write};
use lorakeet::model::Blueprint;
use lorakeet::{ErrorKind, Result};
use serde_json::{Value, json};

const TOLERANCE: Tolerance = Tolerance { abs: 1e-4, rel: 0.0 };
const CONFIG: &[u8] = include_bytes!("../fixtures/adapters/gemma3/all-linear/adapter_config.json");
const ADAPTER: &[u8] = include_bytes!("../fixtures/adapters/gemma3/all-linear/adapter_model.safetensors");
const ADAPTED: &[u8] = include_bytes!("../fixtures/adapters/gemma3/all-linear/reference.safetensors");

fn gemma3() -> &'static ModelFiles {
    MODELS.iter().find(|files| files.name == "gemma3").expect("a fixture")
}

/// The fixture's config as the text part of a model of more.
fn wrapped() -> Value {
    let text: Value = serde_json::from_slice(gemma3().config).expect("JSON");
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text,
        "vision_config": {"hidden_size": 12, "model_type": "siglip_vision_model"}, "mm_tokens_per_image": 4,
        "eos_token_id": [0, 106],
    })
}

/// A file's tensors under other names, and one of images beside.
fn renamed(file: &[u8], rename: impl Fn(&str) -> String, more: Option<&str>) -> Vec<u8> {
    let header = Header::from_file_bytes(file).expect("valid");
    let read = |info: &lorakeet::format::TensorInfo| {
        let values = info.read_f32(info.bytes_in(file).expect("there")).expect("floats");
        (rename(&info.name), info.shape.clone(), values)
    };
    let mut tensors: Vec<_> = header.tensors.iter().map(read).collect();
    tensors.extend(more.map(|name| (name.to_owned(), vec![3, 2], vec![0.5; 6])));
    let list: Vec<_> =
        tensors.iter().map(|(name, shape, v)| (name.clone(), shape.clone(), TensorData::F32(v))).collect();
    write(&list, &Default::default()).expect("valid")
}

fn open(file: &[u8]) -> Result<Loader> {
    let config = wrapped().to_string();
    let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
    let mut loader =
        Loader::new(config.as_bytes(), None, gemma3().tokenizer, backend, &EngineOptions::default())?;
    load(&mut loader, file)?;
    Ok(loader)
}

#[pollster::test]
async fn the_text_part_is_loaded_under_both_spellings() {
    let reference = Fixture::new(gemma3().reference);
    for (front, beside) in [
        ("model.language_model.", "model.vision_tower.encoder.layers.0.mlp.fc1.weight"),
        ("language_model.model.", "multi_modal_projector.mm_input_projection_weight"),
    ] {
        let rename = |name: &str| name.replacen("model.", front, 1);
        let file = renamed(gemma3().weights[0], rename, Some(beside));
        let mut engine = open(&file).expect(front).finish().expect("complete");
        let said = "the model's text part is loaded alone: its tensors for images are passed over";
        assert_eq!(engine.warnings(), [said]);
        let logits = engine.logits(&reference.ids("input_ids")).await.expect("it fits");
        assert_close(front, &logits, &reference.f32("logits"), TOLERANCE);
        // An adapter made on the whole model.
        let rename = |name: &str| name.replacen(".model.layers.", &format!(".{front}layers."), 1);
        let adapter = renamed(ADAPTER, rename, None);
        engine.load_adapter("x", CONFIG, &adapter).await.expect("fits");
        engine.set_adapter(vec![("x".to_owned(), 1.0)]).expect("loaded");
        let adapted = Fixture::new(ADAPTED);
        let logits = engine.logits(&adapted.ids("input_ids")).await.expect("it fits");
        assert_close(front, &logits, &adapted.f32("logits"), TOLERANCE);
        // What belongs to neither part is none of the architecture's.
        let file = renamed(gemma3().weights[0], str::to_owned, Some("model.audio_tower.weight"));
        let error = open(&file).map(|_| ()).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
}

#[test]
fn what_a_text_config_leaves_out_is_transformers() {
    let read = |json: Value| Blueprint::from_json(json.to_string().as_bytes()).map_err(|e| e.to_string());
    // As published for the one of four billion parameters.
    let config = read(json!({
        "model_type": "gemma3", "eos_token_id": [1, 106],
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
        "vision_config": {"model_type": "siglip_vision_model"},
    }));
    let config = config.expect("valid");
    assert_eq!((config.num_attention_heads, config.num_key_value_heads, config.head_dim), (8, 4, 256));
    assert_eq!((config.vocab_size, config.max_position_embeddings), (262_208, 131_072));
    assert_eq!(config.layers.iter().filter(|layer| layer.window.is_none()).count(), 5);
    for (json, words) in [
        (json!({"model_type": "gemma3"}), "config.json: field `text_config` is missing"),
        (
            json!({"model_type": "gemma3", "text_config": {"model_type": "llama"}}),
            "config.json: model_type \"llama\" in text_config, expected `gemma3_text`",
        ),
        (
            json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}, "quantization_config": {}}),
            "config.json: quantization_config: quantised checkpoints are not supported; take the model as it was \
             before, with `dtype` q8 or q4, or a GGUF file of it",
        ),
        (
            json!({"model_type": "abacus_vl", "vision_config": {"depth": 2}}),
            "config.json: model_type `abacus_vl`, a model of texts and more, which is not supported",
        ),
        (
            json!({"model_type": "abacus_moe", "num_local_experts": 8}),
            "config.json: model_type `abacus_moe`, a mixture of experts, which is not supported",
        ),
    ] {
        assert_eq!(read(json), Err(words.to_owned()));
    }
}
