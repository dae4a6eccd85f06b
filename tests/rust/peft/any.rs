//! Any bytes at all: nothing panics.

use super::*;
use proptest::prelude::*;

/// Calls everything; the point is that nothing panics.
fn use_all(bytes: &[u8], names: &[&str]) {
    let Ok(config) = AdapterConfig::from_json(bytes) else { return };
    for name in names {
        let _ = (config.targets(name, true, false), config.rank(name), config.scale(name));
        let _ = (is_feedforward(&config, name), config.saves(name), config.token_rows(name, true));
        let _ = part_of(name, &config);
    }
    // Not equal to the last bit: a JSON number may be off by that much.
    let written = config.to_json();
    AdapterConfig::from_json(written.as_bytes()).unwrap_or_else(|e| panic!("{e}: {written}"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..9).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        r"[a-z.*+?()\[\]{}|^$\\0-9_,:=!<>i-]{0,12}".prop_map(Value::from),
        Just(json!("all-linear")),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(r"[a-z.*\[\](){}|\\]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: &[&str] = &[
    "r",
    "lora_alpha",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "modules_to_save",
    "trainable_token_indices",
    "init_lora_weights",
    "use_dora",
    "feedforward_modules",
    "num_virtual_tokens",
    "token_dim",
    "num_layers",
    "num_attention_heads",
    "save_projection",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_configs_never_panic(
        kind in prop::sample::select(vec!["LORA", "IA3", "VERA", "PROMPT_TUNING", "PREFIX_TUNING", "X"]),
        fields in proptest::collection::btree_map(prop::sample::select(FIELDS), any_json(), 0..5),
        name in "[a-z0-9._]{0,20}",
    ) {
        let mut config = json!({"peft_type": kind, "target_modules": ["q"], "feedforward_modules": ["q"],
            "num_virtual_tokens": 2, "token_dim": 4, "num_layers": 3, "num_attention_heads": 2});
        let known: &[&str] = match kind {
            "LORA" => &["feedforward_modules", "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads"],
            _ => &[],
        };
        for (field, value) in fields {
            config[field] = value;
        }
        for field in known {
            config.as_object_mut().expect("an object").remove(*field);
        }
        use_all(config.to_string().as_bytes(), &[&name, Q, "", "lm_head.weight", "model.layers.1.q.lora_A.weight"]);
    }

    #[test]
    fn mutated_configs_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = lora(json!({
            "rank_pattern": {"^a(b|c).*": 2}, "alpha_pattern": {"q": 1.5}, "modules_to_save": ["lm_head"],
            "exclude_modules": "x[a-z]+y?", "layers_to_transform": [1], "layers_pattern": "layers",
        })).to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        use_all(&bytes, &[Q, "lm_head", "ab.c"]);
    }

    #[test]
    fn random_names_never_panic(name in r"(base_model\.model\.)?[a-z.]{0,9}(\.(lora_A|lora_magnitude_vector|base_layer|modules_to_save|default|token_adapter|weight|bias|漢)){0,5}") {
        for config in [lora(json!({"bias": "all", "use_dora": true, "modules_to_save": ["a"], "trainable_token_indices": [1]})), lora(json!({}))] {
            if let Ok(part) = part_of(&name, &of(config)) {
                prop_assert!(!part.module.is_empty() && name.contains(&part.module), "{:?}", part);
            }
        }
    }
}
