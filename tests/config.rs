//! `config.json`: what is read, and what is refused in which words.
#![cfg(not(target_arch = "wasm32"))]

use std::path::Path;

use lorakeet::ErrorKind;
use lorakeet::config::{Family, ModelConfig, Positions, RopeScaling};
use proptest::prelude::*;
use serde_json::{Value, json};

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    })
}

fn read(json: &Value) -> lorakeet::Result<ModelConfig> {
    ModelConfig::from_json(json.to_string().as_bytes())
}

/// The error of a Llama config with `changes` made to it.
#[track_caller]
fn refused(changes: Value, kind: ErrorKind, words: &str) {
    let mut json = llama();
    for (key, value) in changes.as_object().expect("an object") {
        json[key] = value.clone();
    }
    let error = read(&json).expect_err(words);
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = read(&llama()).expect("valid");
    assert_eq!((config.family, config.head_dim), (Family::Llama, 8));
    assert!(!config.tie_word_embeddings && !config.qkv_bias && config.gated);
    assert_eq!(config.windows, [None, None]);
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 5});
    let config = read(&gpt2).expect("valid");
    assert_eq!((config.intermediate_size, config.tie_word_embeddings), (32, true));
    assert_eq!(config.positions, Positions::Learned);
}

#[test]
fn both_spellings_of_rope_are_read() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    let mut older = llama();
    older["rope_theta"] = json!(500.0);
    older["rope_scaling"] = scaling.clone();
    let mut newer = llama();
    newer.as_object_mut().expect("an object").remove("rope_theta");
    newer["rope_parameters"] = scaling;
    newer["rope_parameters"]["rope_theta"] = json!(500.0);
    let (older, newer) = (read(&older).expect("valid"), read(&newer).expect("valid"));
    assert_eq!(older, newer);
    let Positions::Rotary { theta, scaling: RopeScaling::Llama3 { factor, .. } } = older.positions else {
        panic!("{:?}", older.positions)
    };
    assert_eq!((theta, factor), (500.0, 8.0));
}

#[test]
fn windows_follow_their_family() {
    let mut mistral = llama();
    mistral["model_type"] = json!("mistral");
    mistral["sliding_window"] = json!(7);
    assert_eq!(read(&mistral).expect("valid").windows, [Some(7), Some(7)]);
    let mut qwen = llama();
    qwen["model_type"] = json!("qwen2");
    qwen["sliding_window"] = json!(7);
    assert_eq!(read(&qwen).expect("valid").windows, [None, None], "not asked for");
    qwen["use_sliding_window"] = json!(true);
    qwen["max_window_layers"] = json!(1);
    assert_eq!(read(&qwen).expect("valid").windows, [None, Some(7)]);
    qwen["layer_types"] = json!(["sliding_attention", "full_attention"]);
    assert_eq!(read(&qwen).expect("valid").windows, [Some(7), None]);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    use ErrorKind::{Format, Mismatch, Unsupported};
    refused(
        json!({"model_type": "bert"}),
        Unsupported,
        "config.json: model_type `bert`, expected one of llama, mistral, qwen2, gpt2",
    );
    refused(json!({"model_type": null}), Format, "config.json: field `model_type` is missing");
    refused(json!({"hidden_size": null}), Format, "config.json: field `hidden_size` is missing");
    refused(
        json!({"num_attention_heads": 7}),
        Mismatch,
        "config.json: hidden_size 48 is no multiple of num_attention_heads 7",
    );
    refused(
        json!({"num_key_value_heads": 4}),
        Mismatch,
        "config.json: num_attention_heads 6 is no multiple of num_key_value_heads 4",
    );
    refused(json!({"head_dim": 7}), Unsupported, "config.json: head_dim 7, expected an even number");
    refused(json!({"head_dim": 512}), Unsupported, "config.json: head_dim 512, expected at most 256");
    refused(json!({"vocab_size": 0}), Unsupported, "config.json: vocab_size 0 is out of range");
    refused(
        json!({"num_hidden_layers": 1u64 << 40}),
        Unsupported,
        "config.json: num_hidden_layers 1099511627776 is out of range",
    );
    refused(json!({"hidden_act": "mish"}), Unsupported, "config.json: hidden_act `mish` is not supported");
    refused(
        json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}),
        Unsupported,
        "config.json: rope_type `yarn` is not supported",
    );
    refused(
        json!({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}),
        Format,
        "config.json: rope_scaling field `low_freq_factor` is missing",
    );
    refused(json!({"rope_theta": -1.0}), Format, "config.json: rope_theta -1, expected a positive number");
    refused(
        json!({"quantization_config": {"bits": 4}}),
        Unsupported,
        "config.json: quantization_config: quantised checkpoints are not supported",
    );
    refused(
        json!({"eos_token_id": [2, 300]}),
        Mismatch,
        "config.json: eos_token_id 300, expected below vocab_size 300",
    );
    refused(json!({"eos_token_id": -1}), Format, "config.json: eos_token_id -1 is not a token id");
}

/// Bodies of real models: each is read, or refused with a reason.
#[test]
fn real_configs_are_read_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/configs");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no real configs beside this checkout");
        return;
    };
    let (mut read_count, mut refused_count) = (0, 0);
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let bytes = std::fs::read(&path).expect("readable");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        let known =
            ["llama", "mistral", "qwen2", "gpt2"].contains(&json["model_type"].as_str().unwrap_or_default());
        match ModelConfig::from_json(&bytes) {
            Ok(_) => read_count += 1,
            Err(error) => {
                refused_count += 1;
                assert!(!known, "{name}: {error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
            }
        }
    }
    assert!(read_count >= 15 && refused_count >= 15, "{read_count} read, {refused_count} refused");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ModelConfig::from_json(&bytes);
    }

    /// Any number in any field is read or refused.
    #[test]
    fn no_number_makes_it_panic(key in 0usize..9, number in any::<i64>(), small in 0u64..9) {
        let mut json = llama();
        let name = json.as_object().expect("an object").keys().nth(key).expect("nine keys").clone();
        json[&name] = json!(number);
        let _ = read(&json);
        json[&name] = json!(small);
        let _ = read(&json);
    }
}
