//! Fields without effect, fields that are refused, and files that are no config.

use super::*;

/// Every field that PEFT 0.21 writes for a LoRA is known, at the value it has when not in use.
#[test]
fn every_field_of_peft_is_known() {
    let unused = json!({
        "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
        "base_model_name_or_path": "x", "bias": "none", "corda_config": null, "ensure_weight_tying": false,
        "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
        "init_lora_weights": true, "kasa_config": null, "layer_replication": null, "layers_pattern": null,
        "layers_to_transform": null, "loftq_config": {}, "lora_bias": false, "lora_dropout": 0.0,
        "lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null,
        "monteclora_config": null, "peft_version": "0.21.2", "qalora_group_size": 16, "rank_pattern": {},
        "revision": null, "target_parameters": null, "trainable_token_indices": null, "use_bdlora": null,
        "use_dora": false, "use_qalora": false, "use_rslora": false, "velora_config": null,
    });
    assert_eq!(of(lora(unused)), of(lora(json!({"base_model_name_or_path": "x"}))));
}

#[test]
fn what_served_the_training_has_no_effect() {
    let config = lora(json!({
        "lora_dropout": 0.3, "inference_mode": false, "revision": "main", "task_type": "SEQ_CLS",
        "auto_mapping": {"unsloth_fixed": true}, "runtime_config": {"ephemeral_gpu_offload": true},
        "loftq_config": {"loftq_bits": 4}, "eva_config": {"rho": 2.0}, "corda_config": {"corda_method": "kpm"},
        "lora_ga_config": {"scale": "unit"}, "megatron_core": "other", "merge_weights": true, "qalora_group_size": 8,
    }));
    assert_eq!(of(config), of(lora(json!({}))));
    for init in [
        json!(true),
        json!(false),
        json!(null),
        json!("gaussian"),
        json!("eva"),
        json!("orthogonal"),
        json!("mica"),
    ] {
        of(lora(json!({"init_lora_weights": init})));
    }
}

#[test]
fn what_changes_the_arithmetic_is_refused_by_name() {
    for (field, value, does) in [
        ("alora_invocation_tokens", json!([1, 2]), "acts from certain tokens on"),
        ("arrow_config", json!({"top_k": 3}), "routes tokens among adapters"),
        ("enable_lora", json!([true, false, true]), "adapts parts of a fused projection"),
        ("kasa_config", json!({"beta": 0.1}), "truncates the base's weights"),
        ("layer_replication", json!([[0, 2], [1, 3]]), "repeats layers of the base"),
        ("megatron_config", json!({"a": 1}), "splits layers as Megatron does"),
        ("monteclora_config", json!({"num_samples": 8}), "samples its weights"),
        ("target_parameters", json!(["experts.up"]), "adapts parameters that are not modules"),
        ("use_bdlora", json!({}), "has block-diagonal factors"),
        ("use_qalora", json!(true), "pools its input"),
        ("velora_config", json!({"num_groups": 4}), "brings tensors that are not read"),
    ] {
        let message = format!("field `{field}` is {value}: an adapter that {does} is not supported");
        unsupported(json!({field: value}), &message);
    }
}

#[test]
fn factors_cut_out_of_the_base_are_refused() {
    for init in ["pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "lora_ga"] {
        unsupported(
            json!({"init_lora_weights": init}),
            &format!(
                "field `init_lora_weights` is \"{init}\": its A and B fit only the base they were cut out of; convert \
                 it in Python with `save_pretrained(folder, path_initial_model_for_weight_conversion=…)`"
            ),
        );
    }
    let loftq = "field `init_lora_weights` is \"loftq\": its A and B fit only the base that LoftQ quantised";
    unsupported(json!({"init_lora_weights": "loftq"}), loftq);
    let other = "field `init_lora_weights` is \"new\": it is unknown and may have changed the base";
    unsupported(json!({"init_lora_weights": "new"}), other);
    let number = "field `init_lora_weights` is 1, expected true, false or a name";
    malformed(json!({"init_lora_weights": 1}), number);
}

#[test]
fn an_unknown_field_is_refused_unless_it_is_not_in_use() {
    for unset in [json!(null), json!(false), json!([]), json!({}), json!("")] {
        assert_eq!(of(lora(json!({"x": unset}))), of(lora(json!({}))));
    }
    for set in [json!(true), json!(0), json!([0]), json!({"a": null}), json!("a")] {
        unsupported(json!({"x": set}), "field `x` is unknown and may change the arithmetic");
    }
    // A field of another kind is as unknown here.
    unsupported(
        json!({"feedforward_modules": ["a"]}),
        "field `feedforward_modules` is unknown and may change the arithmetic",
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    let words =
        "peft_type `ADALORA`, expected one of LORA, IA3, VERA, PROMPT_TUNING, P_TUNING, PREFIX_TUNING";
    unsupported(json!({"peft_type": "ADALORA"}), words);
    malformed(json!({"peft_type": null}), "field `peft_type` is missing");
    malformed(json!({"peft_type": ["LORA"]}), "field `peft_type` is [\"LORA\"], expected a name");
}

#[test]
fn values_of_another_type_or_size() {
    let rank = "an integer from 1 to 65536";
    malformed(json!({"r": 0}), &format!("field `r` is 0, expected {rank}"));
    malformed(json!({"r": 65537}), &format!("field `r` is 65537, expected {rank}"));
    malformed(json!({"r": 4.5}), &format!("field `r` is 4.5, expected {rank}"));
    malformed(json!({"r": "4"}), &format!("field `r` is \"4\", expected {rank}"));
    malformed(json!({"rank_pattern": {"q": 0}}), &format!("field `rank_pattern.q` is 0, expected {rank}"));
    malformed(json!({"rank_pattern": [1]}), "field `rank_pattern` is [1], expected an object");
    malformed(json!({"alpha_pattern": {"q": true}}), "field `alpha_pattern.q` is true, expected a number");
    malformed(json!({"lora_alpha": "16"}), "field `lora_alpha` is \"16\", expected a number");
    malformed(json!({"r": null}), &format!("field `r` is null, expected {rank}"));
    malformed(json!({"r": -4}), &format!("field `r` is -4, expected {rank}"));
    malformed(json!({"r": [4]}), &format!("field `r` is [4], expected {rank}"));
    malformed(
        json!({"rank_pattern": {"q": null}}),
        &format!("field `rank_pattern.q` is null, expected {rank}"),
    );
    malformed(json!({"alpha_pattern": {"q": null}}), "field `alpha_pattern.q` is null, expected a number");
    malformed(json!({"lora_alpha": null}), "field `lora_alpha` is null, expected a number");
    malformed(json!({"lora_alpha": true}), "field `lora_alpha` is true, expected a number");
    malformed(json!({"lora_alpha": "NaN"}), "field `lora_alpha` is \"NaN\", expected a number");
    malformed(json!({"lora_alpha": 0}), "field `lora_alpha` is 0, expected another number");
    assert_error(
        read(&json!({"peft_type": "VERA", "r": null, "target_modules": ["q_proj"]})),
        ErrorKind::Format,
        &format!("adapter_config.json: field `r` is null, expected {rank}"),
    );
    malformed(json!({"lora_alpha": 1e39}), "field `lora_alpha` is 1e+39, expected a number");
    malformed(json!({"use_dora": 1}), "field `use_dora` is 1, expected true or false");
    malformed(json!({"bias": "vera_only"}), "field `bias` is \"vera_only\", expected none, lora_only or all");
    malformed(json!({"target_modules": null}), "field `target_modules` is missing");
    malformed(
        json!({"target_modules": [1]}),
        "field `target_modules` is [1], expected a pattern or a list of names",
    );
    malformed(
        json!({"exclude_modules": 1}),
        "field `exclude_modules` is 1, expected a pattern or a list of names",
    );
    malformed(
        json!({"modules_to_save": "lm_head"}),
        "field `modules_to_save` is \"lm_head\", expected a list of names",
    );
    malformed(json!({"modules_to_save": [""]}), "field `modules_to_save` holds an empty name");
    malformed(json!({"base_model_name_or_path": 1}), "field `base_model_name_or_path` is 1, expected a name");
    let tokens = "expected a list of token ids";
    malformed(
        json!({"trainable_token_indices": 1}),
        &format!("field `trainable_token_indices` is 1, {tokens}"),
    );
    malformed(
        json!({"trainable_token_indices": [-1]}),
        &format!("field `trainable_token_indices` is [-1], {tokens}"),
    );
    malformed(
        json!({"trainable_token_indices": {"e": [4, 2, 4]}}),
        "field `trainable_token_indices` holds 4 twice",
    );
    let long = json!({"use_dora": "x".repeat(200)});
    malformed(long, &format!("field `use_dora` is \"{}…, expected true or false", "x".repeat(79)));
}

#[test]
fn fields_that_exclude_each_other() {
    let layers = "a layer's number or a list of them";
    malformed(
        json!({"layers_to_transform": "1"}),
        &format!("field `layers_to_transform` is \"1\", expected {layers}"),
    );
    malformed(
        json!({"layers_to_transform": [1, 1.5]}),
        &format!("field `layers_to_transform` is [1,1.5], expected {layers}"),
    );
    let list = "needs target_modules to be a list";
    for target in ["all-linear", ".*q_proj"] {
        malformed(
            json!({"target_modules": target, "layers_to_transform": 1}),
            &format!("field `layers_to_transform` {list}"),
        );
        malformed(
            json!({"target_modules": target, "layers_pattern": "h"}),
            &format!("field `layers_pattern` {list}"),
        );
    }
    malformed(json!({"layers_pattern": "h"}), "field `layers_pattern` needs layers_to_transform");
    malformed(
        json!({"layers_pattern": 1, "layers_to_transform": 1}),
        "field `layers_pattern` is 1, expected a pattern or a list of them",
    );
    malformed(
        json!({"lora_bias": true, "use_dora": true}),
        "fields `lora_bias` and `use_dora` exclude each other",
    );
}

#[test]
fn what_is_no_config() {
    let format = |bytes: &[u8], message: &str| {
        assert_error(AdapterConfig::from_json(bytes), ErrorKind::Format, message)
    };
    format(b"", "adapter_config.json: an empty file");
    format(b"[]", "adapter_config.json: it is not an object");
    format(b"{}", "adapter_config.json: field `peft_type` is missing");
    format(br#"{"r": 1, "r": 2}"#, "adapter_config.json: `r` appears twice at line 1 column 16");
    format(
        br#"{"rank_pattern": {"q": 1, "q": 2}}"#,
        "adapter_config.json: `q` appears twice at line 1 column 33",
    );
    for (value, line) in [("NaN", ""), ("Infinity", "\n"), ("-Infinity", "\n\n  ")] {
        let json = format!("{{\"r\": 4,{line} \"lora_alpha\": {value}, \"peft_type\": \"LORA\"}}");
        let message = format!("adapter_config.json: field `lora_alpha` is {value}, expected a number");
        format(json.as_bytes(), &message);
    }
    format(br#"{"lora_alpha": nan}"#, "adapter_config.json: expected ident at line 1 column 17");
    assert!(AdapterConfig::from_json("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_config() {
    let text = lora(json!({"base_model_name_or_path": "größe/模型"})).to_string();
    let want = AdapterConfig::from_json(text.as_bytes());
    assert!(want.is_ok());
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    for marked in
        [["\u{feff}", &text].concat().into_bytes(), utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)]
    {
        assert_eq!(AdapterConfig::from_json(&marked), want);
        assert!(AdapterConfig::from_json(&marked[..marked.len() - 1]).is_err());
    }
    let twice = ["\u{feff}\u{feff}", &text].concat();
    assert!(AdapterConfig::from_json(twice.as_bytes()).is_err());
}
