//! `config.json` of families with factors, caps and layers of several kinds: what is read, and what is refused.
//! What all families read alike is `config`'s.

use lorakeet::model::{Blueprint, Rope, RopeScaling};
use serde_json::{Value, json};

/// A config of four layers with these keys beside.
fn read(model_type: &str, keys: Value) -> Result<Blueprint, String> {
    let mut json = json!({
        "model_type": model_type, "vocab_size": 300, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    });
    for (key, value) in keys.as_object().expect("an object") {
        json[key] = value.clone();
    }
    Blueprint::from_json(json.to_string().as_bytes()).map_err(|e| e.to_string())
}

fn windows(config: &Blueprint) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.window).collect()
}

fn plain(theta: f64) -> Rope {
    Rope::Rotary { theta, scaling: RopeScaling::None }
}

#[test]
fn gemma_says_gelu_and_means_its_approximation() {
    let config = read("gemma", json!({"hidden_act": "gelu", "hidden_activation": null})).expect("valid");
    assert_eq!(config, read("gemma", json!({"hidden_act": "gelu_pytorch_tanh"})).expect("valid"));
    assert_eq!(config, read("gemma", json!({})).expect("valid"));
    assert_ne!(config, read("gemma", json!({"hidden_act": "silu"})).expect("valid"));
    assert_eq!((config.head_dim, config.tie_word_embeddings), (256, true));
}

#[test]
fn gemma_2_has_a_window_on_every_other_layer() {
    let config = read("gemma2", json!({})).expect("valid");
    assert_eq!(windows(&config), [Some(4096), None, Some(4096), None]);
    let config = read("gemma2", json!({"sliding_window": 7, "sliding_window_size": 7})).expect("valid");
    assert_eq!(windows(&config), [Some(7), None, Some(7), None]);
    let types = json!(["full_attention", "full_attention", "sliding_attention", "full_attention"]);
    let config = read("gemma2", json!({"sliding_window": 7, "layer_types": types})).expect("valid");
    assert_eq!(windows(&config), [None, None, Some(7), None]);
}

/// A cap that is left out is the family's, null is none.
#[test]
fn caps_and_scales_are_numbers_above_0() {
    let default = read("gemma2", json!({})).expect("valid");
    let said = json!({
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 256,
    });
    assert_eq!(default, read("gemma2", said).expect("valid"));
    for (key, value) in [
        ("attn_logit_softcapping", Value::Null),
        ("final_logit_softcapping", Value::Null),
        ("query_pre_attn_scalar", json!(144)),
    ] {
        assert_ne!(default, read("gemma2", json!({key: value})).expect("valid"), "{key}");
    }
    for (family, key) in [
        ("gemma2", "attn_logit_softcapping"),
        ("gemma3_text", "final_logit_softcapping"),
        ("gemma3_text", "query_pre_attn_scalar"),
        ("granite", "embedding_multiplier"),
        ("granite", "residual_multiplier"),
        ("granite", "logits_scaling"),
        ("granite", "attention_multiplier"),
    ] {
        for (value, shown) in [(json!(0), "0"), (json!(-1.5), "-1.5"), (json!(1e300), "inf")] {
            let words = format!("config.json: {key} is {shown}, expected a positive number");
            assert_eq!(read(family, json!({key: value})), Err(words), "{family}");
        }
        let words = format!("config.json: field `{key}` is \"x\", expected a float");
        assert_eq!(read(family, json!({key: "x"})), Err(words));
    }
    assert_eq!(
        read("gemma3_text", json!({"attn_logit_softcapping": 50.0})),
        Err(
            "config.json: attn_logit_softcapping 50.0: soft caps on attention scores, which is not supported"
                .to_owned()
        )
    );
}

/// Two rotations, in the older spelling and in the newer.
#[test]
fn gemma_3_rotates_by_the_type_of_a_layer() {
    let linear = json!({"rope_type": "linear", "factor": 8.0});
    let older = json!({
        "rope_theta": 1e6, "rope_local_base_freq": 10000, "rope_scaling": linear, "sliding_window": 9,
        "sliding_window_pattern": 3,
    });
    let newer = json!({
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        "sliding_window": 9,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    });
    let config = read("gemma3_text", older).expect("valid");
    assert_eq!(windows(&config), [Some(9), Some(9), None, Some(9)]);
    let scaled = Rope::Rotary { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } };
    assert_eq!(config.ropes, [scaled, plain(1e4)]);
    assert_eq!(config, read("gemma3_text", newer).expect("valid"));
    let bare = read("gemma3_text", json!({})).expect("valid");
    assert_eq!(bare.ropes, [plain(1e6), plain(1e4)]);
    assert_eq!(windows(&bare), [Some(4096); 4]);
    for (keys, words) in [
        (
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}),
            "config.json: rope_theta in rope_parameters of layers by type is not supported",
        ),
        (
            json!({"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 5.0}},
                "rope_local_base_freq": 6.0}),
            "config.json: rope_local_base_freq 6, and 5 in rope_parameters",
        ),
        (json!({"sliding_window_pattern": 0}), "config.json: sliding_window_pattern 0 is not supported"),
        (
            json!({"use_bidirectional_attention": true}),
            "config.json: use_bidirectional_attention true: attention to later tokens, which is not supported",
        ),
    ] {
        assert_eq!(read("gemma3_text", keys), Err(words.to_owned()));
    }
}

#[test]
fn smollm3_leaves_layers_without_rotation() {
    let of = |keys: Value| read("smollm3", keys);
    let config = of(json!({"no_rope_layers": [1, 0, 1, 1], "rope_theta": 5e6})).expect("valid");
    assert_eq!(config.ropes, [plain(5e6), Rope::Identity]);
    assert_eq!(windows(&config), [None; 4]);
    let every_other = of(json!({"no_rope_layer_interval": 2})).expect("valid");
    assert_eq!(every_other, of(json!({"no_rope_layers": [1, 0, 1, 0]})).expect("valid"));
    assert_eq!(of(json!({})), of(json!({"no_rope_layers": [1, 1, 1, 0], "no_rope_layer_interval": 9})));
    let window = json!({"use_sliding_window": true, "sliding_window": 8, "no_rope_layers": [1, 0, 1, 0]});
    assert_eq!(windows(&of(window).expect("valid")), [None, Some(8), None, Some(8)]);
    for (keys, words) in [
        (
            json!({"no_rope_layers": [1, 0]}),
            "config.json: no_rope_layers has 2 entries, expected num_hidden_layers 4",
        ),
        (
            json!({"no_rope_layers": [1, 0, 1, "x"]}),
            "config.json: field `no_rope_layers` is [1,0,1,\"x\"], expected a list of counts",
        ),
        (json!({"no_rope_layer_interval": 0}), "config.json: no_rope_layer_interval 0 is not supported"),
    ] {
        assert_eq!(of(keys), Err(words.to_owned()));
    }
}

#[test]
fn olmo2_norms_queries_and_keys() {
    let config = read("olmo2", json!({})).expect("valid");
    assert!(config.layers.iter().all(|layer| layer.head_norm == Some(1e-5)), "{:?}", config.layers);
    assert!(!config.tie_word_embeddings && !config.qkv_bias);
}

/// The factors of its authors' code: `scale_emb`, `scale_depth` / √L, `dim_model_base` / C.
#[test]
fn minicpm_is_granite_by_other_names() {
    let keys = json!({"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 12});
    let mut config = read("minicpm", keys).expect("valid");
    let (residual, attention) = (1.4f32 / 2.0, 1.0 / 8f64.sqrt());
    let granite = json!({
        "embedding_multiplier": 12, "residual_multiplier": residual, "logits_scaling": 4, "attention_multiplier": attention,
    });
    let granite = read("granite", granite).expect("valid");
    config.family = granite.family;
    // All but virtual tokens, which pass by `scale_emb`.
    let shown = format!("{config:?}").replace("virtual_tokens: 1.0", "virtual_tokens: 12.0");
    assert_eq!(shown, format!("{granite:?}"));
    let error = read("minicpm", json!({"num_experts": 8})).expect_err("experts");
    assert_eq!(error, "config.json: num_experts 8: experts, which is not supported");
    assert_eq!(
        read("minicpm", json!({"scale_depth": 0})).map(|_| ()).map_err(|e| e.contains("scale_depth")),
        Err(true)
    );
}
