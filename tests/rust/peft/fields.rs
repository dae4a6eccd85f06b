//! The fields that are honoured, and what they mean.

use super::*;
use lorakeet::engine::{Bias, PrefixTuning, PromptTuning, VirtualTokens};

#[test]
fn defaults_are_those_of_peft() {
    let config = of(json!({"peft_type": "LORA", "target_modules": ["q_proj"]}));
    assert_eq!((config.rank(Q), config.scale(Q)), (Ok(8), Ok(1.0)));
    assert_eq!(config.common.bias, Bias::None);
    assert_eq!((config.common.modules_to_save.len(), config.common.fan_in_fan_out), (0, false));
    let Method::Lora(lora) = &config.method else { panic!("{:?}", config.method) };
    assert!(!lora.use_dora && !lora.use_rslora && !lora.lora_bias && !lora.ensure_weight_tying);
    assert_eq!(config.method.peft_type(), "LORA");
}

#[test]
fn the_scale_is_alpha_over_the_rank_or_its_root() {
    assert_eq!(of(lora(json!({}))).scale(Q), Ok(1.5));
    assert_eq!(of(lora(json!({"use_rslora": true}))).scale(Q), Ok(3.0));
    assert_eq!(of(lora(json!({"lora_alpha": -0.5}))).scale(Q), Ok(-0.125));
    // The pattern's rank is under the root too.
    let config = of(lora(json!({"use_rslora": true, "rank_pattern": {"q_proj": 9}})));
    assert_eq!((config.rank(Q), config.scale(Q)), (Ok(9), Ok(2.0)));
    let config = of(lora(json!({"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"1.self_attn.q_proj": 5}})));
    assert_eq!((config.scale(Q), config.scale("model.layers.0.self_attn.q_proj")), (Ok(2.5), Ok(3.0)));
}

#[test]
fn patterns_are_tried_in_the_order_of_the_file() {
    let read = |patterns: &str| {
        let json = r#"{"peft_type": "LORA", "r": 4, "target_modules": [], "rank_pattern": "#.to_owned()
            + patterns
            + "}";
        AdapterConfig::from_json(json.as_bytes()).expect("valid").rank(Q)
    };
    assert_eq!(read(r#"{"q_proj": 2, "self_attn.*": 3}"#), Ok(2));
    assert_eq!(read(r#"{"self_attn.*": 3, "q_proj": 2}"#), Ok(3));
    // Sorted, the second would come first.
    assert_eq!(read(r#"{"q_proj": 2, "..proj": 3}"#), Ok(2));
}

#[test]
fn switches_and_biases() {
    let config = of(lora(json!({
        "use_dora": true, "use_rslora": true, "fan_in_fan_out": true, "ensure_weight_tying": true, "bias": "lora_only",
        "base_model_name_or_path": "org/base",
    })));
    let Method::Lora(lora_) = &config.method else { panic!("{:?}", config.method) };
    assert!(lora_.use_dora && lora_.use_rslora && lora_.ensure_weight_tying && config.common.fan_in_fan_out);
    assert_eq!(
        (config.common.bias, config.common.base_model_name_or_path.as_deref()),
        (Bias::Targets, Some("org/base"))
    );
    assert_eq!(of(lora(json!({"bias": "all"}))).common.bias, Bias::All);
    let config = of(lora(json!({"lora_bias": true})));
    assert!(matches!(config.method, Method::Lora(lora) if lora.lora_bias));
}

#[test]
fn all_linear_is_every_linear_but_the_head() {
    let config = of(lora(json!({
        "target_modules": "All-Linear", "exclude_modules": ["down_proj"], "modules_to_save": ["1.self_attn"],
    })));
    let targets = |module, linear, head| config.targets(module, linear, head);
    assert!(targets("model.layers.0.self_attn.q_proj", true, false));
    assert!(!targets("model.layers.0.mlp.down_proj", true, false), "excluded");
    assert!(!targets(Q, true, false), "comes whole");
    assert!(!targets("lm_head", true, true) && !targets("model.norm", false, false));
}

#[test]
fn modules_to_save_are_matched_by_their_end_alone() {
    let config = of(lora(json!({"modules_to_save": ["norm", "1.mlp"]})));
    // No dot is asked for in front: PEFT saves these two with `norm`.
    for module in ["model.norm", "model.layers.0.input_layernorm", "model.layers.1.mlp.gate_proj"] {
        assert!(config.saves(module), "{module}");
    }
    for module in ["model.normal", "lm_head", "model.layers.0.mlp.gate_proj"] {
        assert!(!config.saves(module), "{module}");
    }
}

#[test]
fn trainable_tokens() {
    let list = of(lora(json!({"trainable_token_indices": [3, 1, 7]})));
    assert_eq!(list.token_rows("model.embed_tokens", true), Some([3, 1, 7].as_slice()));
    assert_eq!(list.token_rows("lm_head", false), None);
    let dict = of(lora(json!({"trainable_token_indices": {"embed_tokens": [3], "lm_head": [4, 5]}})));
    assert_eq!(dict.token_rows("model.embed_tokens", true), Some([3].as_slice()));
    assert_eq!(dict.token_rows("lm_head", false), Some([4, 5].as_slice()));
    assert_eq!(dict.token_rows("model.norm", false), None);
}

#[test]
fn ia3() {
    let config = of(json!({
        "peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"],
        "init_ia3_weights": true, "exclude_modules": "model\\.layers\\.0\\..*",
    }));
    assert!(config.targets("model.layers.1.mlp.down_proj", true, false));
    assert!(!config.targets("model.layers.0.mlp.down_proj", true, false));
    // No dot is asked for in front, as there is for targets.
    for (module, is) in [("model.layers.1.mlp.down_proj", true), ("breakdown_proj", true), ("k_proj", false)]
    {
        assert_eq!(is_feedforward(&config, module), is, "{module}");
    }
    assert_error(config.rank(Q), ErrorKind::Argument, "an adapter of type IA3 has no rank");
    let pattern =
        json!({"peft_type": "IA3", "target_modules": ".*_proj", "feedforward_modules": ".*down_.*"});
    assert!(is_feedforward(&of(pattern), "mlp.down_proj"));
    let stray = json!({"peft_type": "IA3", "target_modules": ["k_proj"], "feedforward_modules": ["up_proj"]});
    let words =
        "adapter_config.json: field `feedforward_modules` holds `up_proj`, which target_modules does not";
    assert_error(read(&stray), ErrorKind::Format, words);
    let missing = json!({"peft_type": "IA3", "target_modules": ["k_proj"], "feedforward_modules": null});
    let words = "adapter_config.json: field `feedforward_modules` is missing";
    assert_error(read(&missing), ErrorKind::Format, words);
}

#[test]
fn vera() {
    let mut json = json!({
        "peft_type": "VERA", "r": 6, "target_modules": ["q_proj"], "layers_to_transform": [1], "bias": "vera_only",
        "save_projection": true, "projection_prng_key": 7, "d_initial": 0.1, "vera_dropout": 0.5, "init_weights": true,
    });
    let config = of(json.clone());
    assert_eq!((config.rank(Q), config.scale(Q), config.common.bias), (Ok(6), Ok(1.0), Bias::Targets));
    assert!(config.targets(Q, true, false));
    assert!(!config.targets("model.layers.0.self_attn.q_proj", true, false));
    // PEFT allows both for VeRA, and ignores the layers.
    json["target_modules"] = json!(".*q_proj");
    assert!(of(json.clone()).targets("model.layers.0.self_attn.q_proj", true, false));
    assert_eq!(projections(&config, 5, 4), Ok(None), "they are in the file");
    json["save_projection"] = json!(1);
    let words = "adapter_config.json: field `save_projection` is 1, expected true or false";
    assert_error(read(&json), ErrorKind::Format, words);
    json["projection_prng_key"] = json!("7");
    let words = "adapter_config.json: field `projection_prng_key` is \"7\", expected an integer";
    assert_error(read(&json), ErrorKind::Format, words);
}

/// PEFT 0.21.2 with PyTorch 2:
///
/// ```python
/// from peft.tuners.vera.model import _kaiming_init
/// generator = torch.Generator(device="cpu").manual_seed(seed)
/// A, B = _kaiming_init((3, 5), generator), _kaiming_init((4, 3), generator)
/// print(A.flatten().tolist()[:3], B.flatten().tolist()[-2:])
/// ```
#[test]
fn vera_projections_are_those_of_pytorch() {
    let of_seed = |seed: i64| {
        of(
            json!({"peft_type": "VERA", "r": 3, "target_modules": [], "save_projection": false, "projection_prng_key": seed}),
        )
    };
    for (seed, first, last) in [
        (0, [-0.008_201_401, 0.587_644_5, -0.901_600_8], [0.149_643_73, 1.280_536_8]),
        (7, [0.076_511_46, -0.659_889_16, 0.348_815_35], [0.263_697_65, 1.073_965_5]),
        (-3, [0.273_565, 0.016_565_643, -1.061_096_9], [0.242_597_94, 0.812_072]),
        ((1 << 40) + 5, [0.723_545_6, -0.819_15, 0.892_721_4], [-1.158_681_4, 0.077_287_71]),
    ] {
        let (a, b): (Vec<f32>, Vec<f32>) =
            projections(&of_seed(seed), 5, 4).unwrap().expect("not in the file");
        assert_eq!((a.len(), b.len()), (15, 12));
        assert_eq!((&a[..3], &b[10..]), (first.as_slice(), last.as_slice()), "{seed}");
    }
    // More numbers than the generator has state: A (40, 37), B (29, 40), seed 11.
    let config = of(
        json!({"peft_type": "VERA", "r": 40, "target_modules": [], "save_projection": false, "projection_prng_key": 11}),
    );
    let (a, b) = projections(&config, 37, 29).unwrap().expect("not in the file");
    let sum = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>();
    assert_eq!((a.last(), b.last()), (Some(&0.363_962_86), Some(&0.381_343_57)));
    assert!(
        (sum(&a) + 2.515_430_238_578_119_3).abs() < 1e-9 && (sum(&b) - 5.329_596_061_143_093).abs() < 1e-9
    );
    unplaced(&config, "base_model.vera_A");
    assert_eq!(AdapterConfig::from_json(config.to_json().as_bytes()), Ok(config.clone()));
    let words = "VeRA's matrices, (40, 37) and (0, 40)";
    assert_error(projections(&config, 37, 0), ErrorKind::Memory, words);
    assert_error(
        projections(&config, usize::MAX, 1),
        ErrorKind::Memory,
        "VeRA's matrices, (40, 18446744073709551615) and (1, 40)",
    );
}

#[test]
fn prompt_and_prefix_tuning() {
    let mut json = json!({
        "peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "token_dim": 16, "num_transformer_submodules": 1,
        "num_attention_heads": 2, "num_layers": 3, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "be kind",
        "tokenizer_name_or_path": "org/base", "tokenizer_kwargs": {"a": 1}, "modules_to_save": null,
    });
    let config = of(json.clone());
    let tokens = VirtualTokens { num_virtual_tokens: 5, token_dim: 16 };
    let method = Method::PromptTuning(PromptTuning { tokens });
    assert_eq!(config.method, method);
    assert!(!config.targets(Q, true, false));
    json["peft_type"] = json!("P_TUNING");
    json["encoder_reparameterization_type"] = json!("MLP");
    assert_eq!(of(json.clone()).method, method);
    json["num_transformer_submodules"] = json!(2);
    let words = "adapter_config.json: field `num_transformer_submodules` is 2, expected 1: a decoder";
    assert_error(read(&json), ErrorKind::Unsupported, words);
    let mut json = json!({
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "token_dim": 16, "num_attention_heads": 2, "num_layers": 3,
        "prefix_projection": true, "encoder_hidden_size": 9, "init_weights": "zero",
    });
    let method = Method::PrefixTuning(PrefixTuning { tokens, num_layers: 3, num_attention_heads: 2 });
    assert_eq!(of(json.clone()).method, method);
    json["num_attention_heads"] = json!(3);
    let words = "adapter_config.json: token_dim 16 is no multiple of num_attention_heads 3";
    assert_error(read(&json), ErrorKind::Format, words);
    json["num_layers"] = json!(null);
    assert_error(read(&json), ErrorKind::Format, "adapter_config.json: field `num_layers` is missing");
}

/// A and B.
type Factors = (Vec<f32>, Vec<f32>);

/// A and B of a VeRA.
fn projections(config: &AdapterConfig, c_in: usize, c_out: usize) -> Result<Option<Factors>, Error> {
    let Method::Vera(vera) = &config.method else { panic!("{:?}", config.method) };
    vera.projections(c_in, c_out)
}
