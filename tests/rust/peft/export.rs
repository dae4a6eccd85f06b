//! Configs that are written.

use super::*;

#[test]
fn an_exported_config_is_what_peft_reads() {
    let mut config = AdapterConfig::lora(4, 6.0, &["q_proj", "down_proj"]).expect("valid");
    config.common.base_model_name_or_path = Some("org/base".to_owned());
    config.set_module(Q, 2, 2.5).expect("valid");
    let want = r#"{
  "alpha_pattern": {
    "model.layers.1.self_attn.q_proj": 2.5
  },
  "base_model_name_or_path": "org/base",
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "lora_alpha": 6,
  "lora_dropout": 0,
  "peft_type": "LORA",
  "r": 4,
  "rank_pattern": {
    "model.layers.1.self_attn.q_proj": 2
  },
  "target_modules": [
    "q_proj",
    "down_proj"
  ],
  "task_type": "CAUSAL_LM"
}
"#;
    assert_eq!(config.to_json(), want);
    assert_eq!((config.rank(Q), config.scale(Q)), (Ok(2), Ok(1.25)));
    assert_eq!(AdapterConfig::from_json(want.as_bytes()), Ok(config.clone()));
    config.set_module(Q, 3, 1.0).expect("valid");
    assert_eq!(config.rank(Q), Ok(3), "the newest counts");
    let words = "LoRA of rank 0, alpha 1 over 1 target_modules, expected rank 1 to 65536, a finite alpha and at least \
                 one module";
    assert_error(AdapterConfig::lora(0, 1.0, &["q_proj"]), ErrorKind::Argument, words);
    assert_error(
        config.set_module(Q, 0, 1.0),
        ErrorKind::Argument,
        &format!("module `{Q}`: rank 0, alpha 1"),
    );
    let mut ia3 = of(json!({"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}));
    let words = format!("module `{Q}`: an adapter of type IA3 has no rank");
    assert_error(ia3.set_module(Q, 1, 1.0), ErrorKind::Argument, &words);
}

#[test]
fn every_kind_survives_being_written() {
    for json in [
        lora(json!({
            "use_dora": true, "use_rslora": true, "bias": "all", "modules_to_save": ["lm_head"], "fan_in_fan_out": true,
            "exclude_modules": "a.*", "layers_to_transform": [0, -2], "layers_pattern": ["h", "l.*s"],
            "rank_pattern": {"b": 2, "a.*": 3}, "alpha_pattern": {"b": 0.1}, "trainable_token_indices": [5, 3],
            "ensure_weight_tying": true,
        })),
        lora(json!({"lora_bias": true, "target_modules": "all-linear", "bias": "lora_only"})),
        lora(json!({"target_modules": "x|y", "trainable_token_indices": {"wte": [2], "lm_head": [1]}})),
        lora(json!({"trainable_token_indices": {"wte": [2]}, "lora_alpha": 1e-3})),
        json!({"peft_type": "IA3", "target_modules": ["q"], "feedforward_modules": ["q"], "exclude_modules": ["z"]}),
        json!({"peft_type": "VERA", "r": 3, "target_modules": ["q"], "bias": "vera_only", "layers_to_transform": 1}),
        json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "token_dim": 4}),
        json!({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "token_dim": 4, "num_layers": 3, "num_attention_heads": 2}),
    ] {
        let config = of(json);
        let written = config.to_json();
        assert_eq!(AdapterConfig::from_json(written.as_bytes()), Ok(config), "{written}");
    }
}

#[test]
fn a_base_is_named_where_the_config_names_none() {
    for before in
        [json!({}), json!({"base_model_name_or_path": null}), json!({"base_model_name_or_path": ""})]
    {
        let bytes = lora(before).to_string();
        let named = AdapterConfig::naming_base(bytes.as_bytes(), "org/base").expect("an object");
        let (want, got) =
            (AdapterConfig::from_json(bytes.as_bytes()).expect("valid"), AdapterConfig::from_json(&named));
        let mut want = want;
        want.common.base_model_name_or_path = Some("org/base".to_owned());
        assert_eq!(got, Ok(want));
    }
    let bytes = lora(json!({"base_model_name_or_path": "its/own"})).to_string();
    assert_eq!(AdapterConfig::naming_base(bytes.as_bytes(), "org/base"), Ok(bytes.into_bytes()));
}
