//! `config.json`: what is read, and what is refused in which words.

use std::collections::BTreeMap;

use lorakeet::ErrorKind;
use lorakeet::model::{Blueprint, Rope, RopeScaling};
use proptest::prelude::*;
use serde_json::{Value, json};

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    })
}

fn read(json: &Value) -> lorakeet::Result<Blueprint> {
    Blueprint::from_json(json.to_string().as_bytes())
}

/// Of each layer.
fn windows(config: &Blueprint) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.window).collect()
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
    assert_eq!((config.family.name, config.head_dim), ("Llama", 8));
    assert!(!config.tie_word_embeddings && !config.qkv_bias && config.gated);
    assert_eq!(windows(&config), [None, None]);
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 5});
    let config = read(&gpt2).expect("valid");
    assert_eq!((config.intermediate_size, config.tie_word_embeddings), (32, true));
    assert!(config.learned_positions);
    assert_eq!(config.ropes, [Rope::Identity]);
}

/// Heads of their own size, each normed; models with experts are another family.
#[test]
fn qwen3_has_norms_of_heads() {
    let mut json = llama();
    json["model_type"] = json!("qwen3");
    let config = read(&json).expect("valid");
    assert_eq!((config.family.name, config.head_dim, config.qkv_bias), ("Qwen3", 128, false));
    assert!(config.layers.iter().all(|layer| layer.head_norm == Some(1e-5)), "{:?}", config.layers);
    json["head_dim"] = json!(20);
    json["attention_bias"] = json!(true);
    let config = read(&json).expect("valid");
    assert_eq!((config.head_dim, config.qkv_bias, config.o_bias), (20, true, true));
    assert_eq!(read(&llama()).expect("valid").layers[0].head_norm, None);
    json["model_type"] = json!("qwen3_moe");
    let words = "config.json: model_type `qwen3_moe`, expected one of llama, mistral, ";
    assert!(read(&json).expect_err("experts").to_string().starts_with(words));
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
    let [Rope::Rotary { theta, scaling: RopeScaling::Llama3 { factor, .. } }] = older.ropes[..] else {
        panic!("{:?}", older.ropes)
    };
    assert_eq!((theta, factor), (500.0, 8.0));
}

#[test]
fn windows_follow_their_family() {
    let mut mistral = llama();
    mistral["model_type"] = json!("mistral");
    mistral["sliding_window"] = json!(7);
    assert_eq!(windows(&read(&mistral).expect("valid")), [Some(7), Some(7)]);
    let mut qwen = llama();
    qwen["model_type"] = json!("qwen2");
    qwen["sliding_window"] = json!(7);
    assert_eq!(windows(&read(&qwen).expect("valid")), [None, None], "not asked for");
    qwen["use_sliding_window"] = json!(true);
    qwen["max_window_layers"] = json!(1);
    assert_eq!(windows(&read(&qwen).expect("valid")), [None, Some(7)]);
    qwen["layer_types"] = json!(["sliding_attention", "full_attention"]);
    assert_eq!(windows(&read(&qwen).expect("valid")), [Some(7), None]);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    use ErrorKind::{Format, Mismatch, Unsupported};
    let mut unknown = llama();
    unknown["model_type"] = json!("abacus");
    let error = read(&unknown).expect_err("no such family");
    assert_eq!(error.kind(), Unsupported);
    let words = "config.json: model_type `abacus`, expected one of llama, mistral, ";
    assert!(error.to_string().starts_with(words), "{error}");
    FAMILIES.iter().for_each(|family| assert!(error.to_string().contains(family), "{family}: {error}"));
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
        json!({"rope_scaling": {"type": "mrope", "factor": 4.0}}),
        Unsupported,
        "config.json: rope_type `mrope` is not supported",
    );
    refused(
        json!({"rope_scaling": {"type": "yarn", "factor": -4.0}}),
        Format,
        "config.json: rope_scaling field `factor` is -4.0, expected a positive number",
    );
    refused(
        json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": ["x"]}}),
        Format,
        "config.json: rope_scaling field `long_factor` is no list of positive numbers",
    );
    refused(
        json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}),
        Mismatch,
        "config.json: 1 rotary factors, expected half of the 8 elements of a head that are rotated",
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
        "config.json: quantization_config: quantised checkpoints are not supported; take the model as it was \
         before, with `dtype` q8 or q4, or a GGUF file of it",
    );
    for (method, by) in [("gptq", "GPTQ"), ("awq", "AWQ"), ("bitsandbytes", "bitsandbytes"), ("hqq", "HQQ")] {
        refused(
            json!({"quantization_config": {"quant_method": method, "bits": 4}}),
            Unsupported,
            &format!(
                "config.json: quantization_config: quantised checkpoints (here {by}) are not supported; take the \
                 model as it was before, with `dtype` q8 or q4, or a GGUF file of it"
            ),
        );
    }
    refused(
        json!({"eos_token_id": [2, 300]}),
        Mismatch,
        "config.json: eos_token_id 300, expected below vocab_size 300",
    );
    refused(json!({"eos_token_id": -1}), Format, "config.json: eos_token_id -1 is not a token id");
}

/// A config of the family with a key more.
fn with(model_type: &str, key: &str, value: Value) -> lorakeet::Result<Blueprint> {
    let mut json = llama();
    if ["gpt2", "gpt_bigcode", "gptj"].contains(&model_type) {
        json = json!({
            "model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 5,
        });
    }
    if ["bert", "modernbert"].contains(&model_type) {
        json = json!({
            "vocab_size": 9, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 5,
        });
    }
    if model_type == "gptj" {
        json["rotary_dim"] = json!(2);
    }
    if ["phi", "stablelm", "gpt_neox", "starcoder2", "cohere", "cohere2"].contains(&model_type) {
        let map = json.as_object_mut().expect("an object");
        map.remove("rms_norm_eps");
        if model_type == "gpt_neox" {
            map.remove("num_key_value_heads");
        }
    }
    if model_type == "ministral3" {
        json["rope_parameters"] = json!({"original_max_position_embeddings": 7, "llama_4_scaling_beta": 0.1});
    }
    json["model_type"] = json!(model_type);
    json[key] = value;
    read(&json)
}

const FAMILIES: &[&str] = &[
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "gemma",
    "gemma2",
    "gemma3_text",
    "smollm3",
    "granite",
    "olmo2",
    "minicpm",
    "phi3",
    "phi",
    "stablelm",
    "gpt_neox",
    "ministral",
    "ministral3",
    "starcoder2",
    "gpt_bigcode",
    "gptj",
    "cohere",
    "cohere2",
    "internlm2",
];

/// Keys that must be off in other families, and families that compute with them.
const READ: &[(&str, &[&str])] = &[
    ("attention_multiplier", &["granite"]),
    ("attn_logit_softcapping", &["gemma2"]),
    ("embedding_multiplier", &["granite"]),
    ("final_logit_softcapping", &["gemma2", "gemma3_text"]),
    ("logits_scaling", &["granite"]),
    ("partial_rotary_factor", &["phi3", "phi", "stablelm", "gpt_neox"]),
    ("no_rope_layer_interval", &["smollm3"]),
    ("no_rope_layers", &["smollm3"]),
    ("query_pre_attn_scalar", &["gemma2", "gemma3_text"]),
    ("residual_multiplier", &["granite"]),
];

#[test]
fn an_unknown_key_is_refused_by_name() {
    for family in FAMILIES {
        for value in [json!(true), json!(false), json!(0), json!([]), json!("x"), json!({"a": 1})] {
            let error = with(family, "use_twisted_heads", value.clone()).expect_err("unknown");
            let words = format!(
                "config.json: use_twisted_heads {value}: an unknown key, which may change the arithmetic; if it does \
                 not, remove it or put `_` in front of it"
            );
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unsupported, words), "{family}");
        }
        with(family, "use_twisted_heads", Value::Null).expect("null is nothing");
        with(family, "_use_twisted_heads", json!(true)).expect("private");
    }
    let error = with("llama", "notes", json!("n".repeat(500))).expect_err("unknown");
    assert!(error.to_string().len() < 220, "{error}");
}

/// Each at a value that changes nothing, and at others.
#[test]
fn keys_that_change_the_arithmetic_must_be_off() {
    let none: [Value; 0] = [];
    for (key, off, on) in [
        ("add_cross_attention", vec![json!(false)], vec![json!(true)]),
        ("attention_multiplier", none.to_vec(), vec![json!(0.5), json!(1.0)]),
        ("attn_logit_softcapping", none.to_vec(), vec![json!(50.0)]),
        ("embedding_multiplier", vec![json!(1), json!(1.0)], vec![json!(12.0)]),
        ("final_logit_softcapping", none.to_vec(), vec![json!(30.0)]),
        ("is_causal", vec![json!(true)], vec![json!(false)]),
        ("logits_scaling", vec![json!(1.0)], vec![json!(8)]),
        ("no_rope_layer_interval", vec![json!(0)], vec![json!(4)]),
        ("no_rope_layers", vec![json!([]), json!([1, 1])], vec![json!([1, 0]), json!([0]), json!(true)]),
        ("num_experts", vec![json!(0)], vec![json!(8)]),
        ("num_local_experts", vec![json!(0)], vec![json!(8)]),
        ("partial_rotary_factor", vec![json!(1), json!(1.0)], vec![json!(0.5), json!("all")]),
        ("pruned_heads", vec![json!({})], vec![json!({"0": [1]})]),
        ("qk_norm", vec![json!(false)], vec![json!(true)]),
        ("query_pre_attn_scalar", none.to_vec(), vec![json!(256)]),
        ("residual_multiplier", vec![json!(1.0)], vec![json!(0.22)]),
        ("rope_interleaved", vec![json!(false)], vec![json!(true)]),
        ("scale_attn_by_inverse_layer_idx", vec![json!(false)], vec![json!(true)]),
        ("scale_attn_weights", vec![json!(true)], vec![json!(false)]),
        ("use_bidirectional_attention", vec![json!(false)], vec![json!(true)]),
        ("use_mrope", vec![json!(false)], vec![json!(true)]),
        ("use_qk_norm", vec![json!(false)], vec![json!(true), json!(1)]),
    ] {
        let reads = |family: &str| READ.iter().any(|(read, by)| *read == key && by.contains(&family));
        for family in FAMILIES.iter().copied().filter(|family| !reads(family)) {
            for value in off.iter().cloned().chain([Value::Null]) {
                let read = with(family, key, value.clone());
                assert_eq!(read.expect(key), with(family, "_", Value::Null).expect("valid"), "{key} {value}");
            }
            for value in &on {
                let error = with(family, key, value.clone()).expect_err(key);
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                let words = error.to_string();
                assert!(words.starts_with(&format!("config.json: {key} {value}: ")), "{words}");
                assert!(words.ends_with(", which is not supported"), "{words}");
            }
        }
    }
    for key in ["quantization_config", "quantization", "compression_config"] {
        let error = with("qwen2", key, json!({"bits": 4})).expect_err(key).to_string();
        assert!(
            error.starts_with(&format!("config.json: {key}: quantised")) && error.contains("GGUF"),
            "{error}"
        );
        with("qwen2", key, Value::Null).expect("null is nothing");
    }
}

/// A key that one family reads is none of another's.
#[test]
fn each_family_has_its_keys() {
    for (key, value) in [
        ("rope_theta", json!(500.0)),
        ("num_key_value_heads", json!(1)),
        ("attention_bias", json!(true)),
        ("sliding_window", json!(3)),
    ] {
        let error = with("gpt2", key, value).expect_err(key);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().starts_with(&format!("config.json: {key} ")), "{error}");
    }
    let error = with("llama", "n_layer", json!(3)).expect_err("GPT-2's").to_string();
    assert!(error.starts_with("config.json: n_layer 3: an unknown key"), "{error}");
    let error = with("gpt2", "hidden_size", json!(16)).expect_err("two sizes");
    let words = "config.json: n_embd 8 and hidden_size 16, which mean the same";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Mismatch, words));
    with("gpt2", "hidden_size", json!(8)).expect("the same twice");
}

#[test]
fn windows_and_layer_types_are_never_ignored() {
    let window = |family: &str, changes: Value| {
        let mut json = llama();
        json["model_type"] = json!(family);
        for (key, value) in changes.as_object().expect("an object") {
            json[key] = value.clone();
        }
        read(&json).map(|config| windows(&config)).map_err(|e| e.to_string())
    };
    // What transformers takes where nothing is said.
    assert_eq!(window("mistral", json!({})), Ok(vec![Some(4096); 2]));
    assert_eq!(window("mistral", json!({"sliding_window": null})), Ok(vec![None; 2]));
    assert_eq!(
        window("qwen2", json!({"use_sliding_window": true, "max_window_layers": 0})),
        Ok(vec![Some(4096); 2])
    );
    // MLC's name.
    assert_eq!(window("mistral", json!({"sliding_window_size": 9})), Ok(vec![Some(9); 2]));
    assert_eq!(window("mistral", json!({"sliding_window_size": -1})), Ok(vec![None; 2]));
    assert_eq!(
        window("mistral", json!({"sliding_window_size": 9, "sliding_window": 8})),
        Err("config.json: sliding_window_size 9 and sliding_window 8, which mean the same".into())
    );
    assert_eq!(
        window("llama", json!({"sliding_window": 4096})),
        Err("config.json: sliding_window 4096 in a llama is not supported".into())
    );
    assert_eq!(
        window("llama", json!({"sliding_window": 4096, "use_sliding_window": false})),
        Ok(vec![None; 2])
    );
    assert_eq!(
        window("mistral", json!({"sliding_window": 9, "use_sliding_window": false})),
        Err("config.json: sliding_window 9 with use_sliding_window false in a mistral is not supported"
            .into())
    );
    let full = json!(["full_attention", "full_attention"]);
    let sliding = json!(["full_attention", "sliding_attention"]);
    assert_eq!(window("llama", json!({"layer_types": full})), Ok(vec![None; 2]));
    assert_eq!(
        window("llama", json!({"layer_types": sliding})),
        Err("config.json: layer type `sliding_attention` without a sliding_window is not supported".into())
    );
    assert_eq!(
        window("llama", json!({"layer_types": ["full_attention", "linear_attention"]})),
        Err("config.json: layer type `linear_attention` is not supported".into())
    );
    assert_eq!(
        window("llama", json!({"layer_types": ["full_attention"]})),
        Err("config.json: layer_types has 1 entries, expected num_hidden_layers 2".into())
    );
    assert_eq!(
        window("mistral", json!({"layer_types": sliding, "sliding_window": 5})),
        Ok(vec![None, Some(5)])
    );
}

#[test]
fn what_rope_parameters_hold_is_known() {
    use ErrorKind::{Mismatch, Unsupported};
    for parameters in [
        json!({"rope_type": "default", "partial_rotary_factor": 1.0}),
        json!({"rope_type": "default", "rope_theta": 10000.0, "factor": 1}),
        json!({"type": "linear", "factor": 2.0, "finetuned": true}),
        json!({"rope_type": null, "original_max_position_embeddings": 64}),
    ] {
        with("llama", "rope_parameters", parameters).expect("harmless");
    }
    refused(
        json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
        Unsupported,
        "config.json: partial_rotary_factor 0.5 in rope_parameters of type default is not supported",
    );
    refused(
        json!({"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}}),
        Unsupported,
        "config.json: mrope_section [16,24,24] in rope_parameters of type default is not supported",
    );
    refused(
        json!({"rope_scaling": {"type": "linear", "factor": 2.0, "attention_factor": 1.5}}),
        Unsupported,
        "config.json: attention_factor 1.5 in rope_parameters of type linear is not supported",
    );
    refused(
        json!({"rope_scaling": {"factor": 2.0}}),
        Unsupported,
        "config.json: factor 2.0 in rope_parameters of type default is not supported",
    );
    refused(
        json!({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}}),
        Mismatch,
        "config.json: rope_parameters and rope_scaling differ, expected one of them",
    );
    refused(
        json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}),
        Mismatch,
        "config.json: rope_theta 10000, and 5 in rope_parameters",
    );
    refused(
        json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
        Unsupported,
        "config.json: full_attention {\"rope_type\":\"default\"} in rope_parameters of type default is not supported",
    );
}

/// Sizes that no machine has, or that multiply to more than one has.
#[test]
fn hostile_sizes_are_refused_at_once() {
    let sizes =
        ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"];
    for (family, key) in FAMILIES.iter().flat_map(|family| sizes.map(|key| (family, key))) {
        for size in [0u64, 1 << 31, 1 << 40, u64::MAX] {
            let key = match (*family, key) {
                ("gpt2", "hidden_size") => "n_embd",
                ("gpt2", "intermediate_size") => "n_inner",
                ("gpt2", "num_hidden_layers") => "n_layer",
                ("gpt2", "num_attention_heads") => "n_head",
                (_, key) => key,
            };
            let error = with(family, key, json!(size)).expect_err(key);
            assert!(error.to_string().starts_with("config.json: "), "{error}");
        }
    }
    refused(
        json!({
            "hidden_size": 1 << 20, "intermediate_size": 1 << 22, "num_hidden_layers": 1000, "head_dim": 64,
        }),
        ErrorKind::Unsupported,
        "config.json: 13195213904281600 parameters, expected at most 1099511627776",
    );
}

/// Bodies of real models: each is read, or refused with a reason.
#[test]
fn real_configs_are_read_or_refused_by_name() {
    let configs: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/configs.json")).expect("JSON");
    let (mut read_count, mut refused_count) = (0, 0);
    for (name, json) in &configs {
        let known = FAMILIES.contains(&json["model_type"].as_str().unwrap_or_default());
        match read(json) {
            Ok(_) => read_count += 1,
            Err(error) => {
                refused_count += 1;
                let has_experts = error.to_string().ends_with(": experts, which is not supported");
                assert!(!known || has_experts, "{name}: {error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
            }
        }
    }
    assert!(read_count >= 42 && refused_count >= 9, "{read_count} read, {refused_count} refused");
}

#[test]
fn names_of_one_family_are_no_others() {
    for (key, value) in [("rotary_pct", json!(0.5)), ("rotary_emb_base", json!(10000.0))] {
        with("gpt_neox", key, value.clone()).expect("its own");
        let error = with("phi", key, value.clone()).expect_err(key).to_string();
        assert!(error.starts_with(&format!("config.json: {key} {value}: ")), "{error}");
    }
    let error = with("gptj", "rotary_dim", Value::Null).expect_err("transformers fails too").to_string();
    assert_eq!(error, "config.json: rotary_dim null is not supported");
    let error = with("cohere", "use_qk_norm", json!(true)).expect_err("norms of heads").to_string();
    assert!(error.contains("norms on queries and keys"), "{error}");
}

/// Ministral 3's growth of queries is said in `rope_parameters`, and no other family looks for it there.
#[test]
fn queries_grow_in_ministral_3_alone() {
    let parameters = |every: Value, beta: Value| json!({"original_max_position_embeddings": every, "llama_4_scaling_beta": beta});
    let read = |family: &str, every: Value, beta: Value| {
        with(family, "rope_parameters", parameters(every, beta)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(read("ministral3", json!(16384), json!(0.1)), Ok(()));
    let words = "config.json: llama_4_scaling_beta 0.1 in rope_parameters of type default is not supported";
    assert_eq!(read("mistral", json!(16384), json!(0.1)), Err(words.to_owned()));
    let missing = |name: &str| {
        format!("config.json: field `{name}` is missing in rope_parameters, or is no positive number")
    };
    assert_eq!(read("ministral3", json!(16384), Value::Null), Err(missing("llama_4_scaling_beta")));
    let original = "original_max_position_embeddings";
    assert_eq!(read("ministral3", json!(-1), json!(0.1)), Err(missing(original)));
    let half = read("ministral3", json!(0.5), json!(0.1)).expect_err("no count");
    assert!(
        half.ends_with("original_max_position_embeddings 0.5 in rope_parameters, expected a count"),
        "{half}"
    );
    // As published: the text part of a model of more.
    let text = json!({
        "model_type": "ministral3", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 6, "rope_parameters": parameters(json!(7), json!(0.1)),
    });
    for outer in ["mistral3", "ministral3"] {
        let config = self::read(&json!({"model_type": outer, "text_config": text, "vision_config": {}}));
        assert_eq!(config.expect(outer).family.name, "Ministral3");
    }
}

#[test]
fn layers_side_by_side_are_read() {
    let configs: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/configs.json")).expect("JSON");
    let of = |name: &str| {
        let config = read(&configs[name]).expect(name);
        (config.family.name, config.head_dim, config.gated, config.qkv_bias, config.mlp_bias)
    };
    assert_eq!(of("stablelm-2-zephyr-1_6b"), ("StableLM", 64, true, true, false));
    assert_eq!(of("redpajama_3b_v1"), ("GptNeoX", 80, false, true, true));
    let mut normed = configs["stablelm-2-zephyr-1_6b"].clone();
    normed["qk_layernorm"] = json!(true);
    let error = read(&normed).expect_err("refused");
    assert!(error.to_string().contains("qk_layernorm true: norms on queries and keys"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Blueprint::from_json(&bytes);
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

/// An encoder that is none, or knows positions otherwise, would answer wrongly.
#[test]
fn an_encoder_must_be_one() {
    let told = |key: &str, value: Value| with("bert", key, value).expect_err(key).to_string();
    assert_eq!(told("is_decoder", json!(true)), "config.json: is_decoder true is not supported");
    assert_eq!(
        told("position_embedding_type", json!("relative_key")),
        "config.json: position_embedding_type `relative_key` is not supported"
    );
    assert_eq!(
        told("type_vocab_size", json!(1 << 30)),
        "config.json: type_vocab_size 1073741824 is out of range"
    );
    with("bert", "position_embedding_type", json!("absolute")).expect("as it is");
}
