//! Patterns of modules' names, as Python reads them.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn patterns_that_are_not_read_are_named() {
    for (pattern, why) in [
        ("*.q_proj", "it does not compile"),
        ("(q_proj", "it does not compile"),
        (r"q\p{L}", "a backslash before a letter or digit that is not read"),
        (r"(q)\1", "a backslash before a letter or digit that is not read"),
        ("q\\", "it ends in a backslash"),
        (r"\<q", "`\\<` and `\\>` need no backslash"),
        ("(?x) q", "a `(?…)` that is not read"),
        ("(?P=n)", "a `(?…)` that is not read"),
        ("q(?i)", "a `(?…)` that is not read"),
        ("[[:alpha:]]", "`[` in a set needs a backslash"),
        ("[a&&b]", "a set holds a doubled `&`, `~`, `|` or `-`"),
        ("[a", "a set is not closed"),
        ("q{,3}", "`{` starts no count; it needs a backslash"),
        ("q{x}", "`{` starts no count; it needs a backslash"),
    ] {
        let message = format!("pattern `{pattern}`: {why}");
        unsupported(json!({"target_modules": pattern}), &message);
        unsupported(json!({"exclude_modules": pattern}), &message);
        unsupported(json!({"rank_pattern": {pattern: 2}}), &message);
        if pattern.starts_with('*') {
            continue; // Python puts it behind a group, where it counts.
        }
        unsupported(json!({"modules_to_save": [pattern]}), &message);
        unsupported(json!({"layers_pattern": [pattern], "layers_to_transform": 1}), &message);
    }
    // Python wants it in front of the whole pattern, which only here is the config's own.
    assert!(read(&lora(json!({"target_modules": "(?i)Q_PROJ"}))).is_ok());
    unsupported(json!({"alpha_pattern": {"(?i)q": 2}}), "pattern `(?i)q`: a `(?…)` that is not read");
    let wide = "a look-behind of more than one width";
    unsupported(json!({"target_modules": "(?<=a|bc)q"}), &format!("pattern `(?<=a|bc)q`: {wide}"));
    unsupported(json!({"target_modules": "(?<!a+)q"}), &format!("pattern `(?<!a+)q`: {wide}"));
    for more in ["(?>a)", "(?<n>a)", "(?P=n)", "(?(1)a|b)", "(?-i:a)"] {
        unsupported(json!({"target_modules": more}), &format!("pattern `{more}`: a `(?…)` that is not read"));
    }
    unsupported(json!({"target_modules": "a*+b"}), "pattern `a*+b`: it does not compile");
    let long = json!({"target_modules": "a".repeat(4097)});
    unsupported(long, "a pattern of 4097 bytes, expected at most 4096");
}

#[test]
fn hostile_patterns_do_not_hang() {
    let name = "a".repeat(64);
    let started = Instant::now();
    assert!(!of(lora(json!({"target_modules": "(a|aa)+b"}))).targets(&name, true, false));
    assert!(!of(lora(json!({"target_modules": "(?:(?:a|aa)*)*b"}))).targets(&name, true, false));
    for pattern in ["(a{1000}){1000}", "((((((((a{50}){50}){50}){50}){50}){50}){50}){50})"] {
        unsupported(json!({"target_modules": pattern}), &format!("pattern `{pattern}`: it does not compile"));
    }
    let deep = "(".repeat(2000) + "a" + &")".repeat(2000);
    assert!(read(&lora(json!({"target_modules": deep}))).is_err());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Asymmetric on purpose: nested numbers, a name that is only an end of another.
const NAMES: [&str; 17] = [
    "model.embed_tokens",
    "model.norm",
    "lm_head",
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.o_proj",
    "model.layers.0.mlp.down_proj",
    "model.layers.0.mlp.experts.1.up_proj",
    "model.layers.1.self_attn.q_proj",
    "model.layers.1.self_attn.o_proj",
    "model.layers.1.mlp.down_proj",
    "model.layers.1.mlp.experts.1.up_proj",
    "model.layers.11.self_attn.q_proj",
    "model.layers.11.self_attn.o_proj",
    "model.layers.11.mlp.down_proj",
    "model.layers.11.mlp.experts.1.up_proj",
    "model.layers.1.self_attn.qq_proj",
    "q_proj",
];

/// PEFT 0.21.2, with the list above as `NAMES`:
///
/// ```python
/// from peft import LoraConfig
/// from peft.tuners.tuners_utils import check_target_module_exists
/// config = LoraConfig(**json.loads(line))
/// print([i for i, name in enumerate(NAMES) if check_target_module_exists(config, name)])
/// ```
#[test]
#[rustfmt::skip]
fn targets_are_those_of_peft() {
    let table: &[(&str, &[usize])] = &[
        (r#"{"target_modules": ["q_proj"]}"#, &[3, 7, 11, 16]),
        (r#"{"target_modules": ["proj"]}"#, &[]),
        (r#"{"target_modules": ["self_attn.q_proj", "model.layers.1.mlp.down_proj"]}"#, &[3, 7, 9, 11]),
        (r#"{"target_modules": ["q_proj", "down_proj"], "layers_to_transform": 1}"#, &[7, 9, 16]),
        (r#"{"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 11]}"#, &[3, 6, 11, 14, 16]),
        (r#"{"target_modules": ["q_proj", "model.layers.0.self_attn.o_proj"], "layers_to_transform": [11]}"#, &[4, 11, 16]),
        (r#"{"target_modules": ["q_proj", "up_proj"], "layers_to_transform": []}"#, &[3, 6, 7, 10, 11, 14, 16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": "experts"}"#, &[6, 10, 14, 16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]}"#, &[7, 10, 16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": ["layers", "experts"]}"#, &[7, 10, 16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": "h|layers"}"#, &[16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": "(?:h|lay.*)"}"#, &[6, 7, 10, 14, 16]),
        (r#"{"target_modules": ["up_proj", "q_proj"], "layers_to_transform": [1], "layers_pattern": ""}"#, &[7, 10, 16]),
        (r#"{"target_modules": ".*\\.(1|11)\\.self_attn\\.(q|o)_proj"}"#, &[7, 8, 11, 12]),
        (r#"{"target_modules": "q_proj"}"#, &[16]),
        (r#"{"target_modules": "^.*q_proj$"}"#, &[3, 7, 11, 15, 16]),
        (r#"{"target_modules": "(?i).*\\.Q_PROJ"}"#, &[3, 7, 11]),
        (r#"{"target_modules": "model\\.layers\\.\\d{2,}\\..*|lm_head"}"#, &[2, 11, 12, 13, 14]),
        (r#"{"target_modules": ["q_proj", "o_proj"], "exclude_modules": ["0.self_attn.q_proj", "q_proj.x"]}"#, &[4, 7, 8, 11, 12, 16]),
        (r#"{"target_modules": ["q_proj", "o_proj"], "exclude_modules": ["attn.q_proj"]}"#, &[3, 4, 7, 8, 11, 12, 16]),
        (r#"{"target_modules": ["q_proj", "o_proj"], "exclude_modules": ".*1\\..*"}"#, &[3, 4, 16]),
        (r#"{"target_modules": ["q_proj", "o_proj"], "exclude_modules": []}"#, &[3, 4, 7, 8, 11, 12, 16]),
        (r#"{"target_modules": ["q_proj", "o_proj", "lm_head", "norm"], "modules_to_save": ["lm_head", "norm"]}"#, &[3, 4, 7, 8, 11, 12, 16]),
        (r#"{"target_modules": ["q_proj", "down_proj"], "modules_to_save": ["self_attn"]}"#, &[5, 9, 13, 16]),
        (r#"{"target_modules": ["q_proj", "down_proj"], "modules_to_save": ["layers.1"]}"#, &[3, 5, 11, 13, 16]),
        (r#"{"target_modules": ["q_proj", "down_proj"], "modules_to_save": ["attn"]}"#, &[3, 5, 7, 9, 11, 13, 16]),
        (r#"{"target_modules": ["q_proj", "down_proj"], "modules_to_save": ["down|q_proj"]}"#, &[3, 7, 11]),
    ];
    for (line, want) in table {
        let config = of(lora(serde_json::from_str(line).expect("JSON")));
        let targeted = |&i: &usize| config.targets(NAMES[i], true, NAMES[i] == "lm_head");
        let got: Vec<usize> = (0..NAMES.len()).filter(targeted).collect();
        assert_eq!(got, *want, "{line}");
    }
}

/// PEFT 0.21.2; 0 is no key, i the i-th key:
///
/// ```python
/// from peft.utils.other import get_pattern_key
/// found = [get_pattern_key(keys, name) for name in NAMES]
/// print([keys.index(key) + 1 if key in keys else 0 for key in found])
/// ```
#[test]
#[rustfmt::skip]
fn pattern_keys_are_those_of_peft() {
    let table: &[(&[&str], [usize; 17])] = &[
        (&["q_proj"], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
        (&["proj"], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (&["q_proj", "self_attn.q_proj"], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
        (&["self_attn.q_proj", "q_proj"], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2]),
        (&["^q_proj"], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (&["^model.layers.1.self_attn.q_proj"], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (&["layers.1.*"], [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]),
        (&[r"layers\.1\..*"], [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0]),
        (&[r"layers\.(0|11)\..*_proj"], [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]),
        (&["1.self_attn.q_proj"], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (&["self_attn.._proj"], [0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]),
        (&["model.layers.1[01].mlp.down_proj"], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        (&["q_proj|o_proj"], [0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1]),
        (&[".*"], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (&["^.*q_proj"], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1]),
        (&["[^q]+_proj"], [0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0]),
        (&["q_proj$"], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
        (&["(?:mlp|self_attn).*"], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]),
        (&["lm.head"], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (&["down_proj", "mlp.*", ".*"], [3, 3, 3, 3, 3, 1, 2, 3, 3, 1, 2, 3, 3, 1, 2, 3, 3]),
        (&["q"], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (keys, want) in table {
        // The ranks are 1, 2, ...; the default stands for 0.
        let patterns: Vec<String> =
            keys.iter().enumerate().map(|(i, key)| format!("{}: {}", json!(key), i + 1)).collect();
        let json = format!(
            r#"{{"peft_type": "LORA", "r": 99, "lora_alpha": 198, "target_modules": [], "rank_pattern": {{{0}}}, "alpha_pattern": {{{0}}}}}"#,
            patterns.join(", ")
        );
        let config = AdapterConfig::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("{keys:?}: {e}"));
        let got = NAMES.map(|name| config.rank(name).unwrap() % 99);
        assert_eq!(got, *want, "{keys:?}");
        // Where both patterns fit, they give the same number; elsewhere the default's quotient.
        for (name, key) in NAMES.iter().zip(want) {
            assert_eq!(config.scale(name), Ok(if *key == 0 { 2.0 } else { 1.0 }), "{keys:?} {name}");
        }
    }
}

/// `tests/fixtures/patterns.py` asked Python.
#[test]
fn patterns_fit_what_python_says() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../fixtures/peft/patterns.json")).expect("valid JSON");
    let names: Vec<&str> =
        fixture["names"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let (mut wrong, rows) = (Vec::new(), fixture["rows"].as_array().expect("a list"));
    for row in rows {
        let asked = row[1].as_u64().expect("a count") as usize;
        let config = of(lora(json!({"target_modules": row[0]})));
        let fits: Vec<usize> = (0..asked).filter(|i| config.targets(names[*i], true, false)).collect();
        if json!(fits) != row[2] {
            wrong.push(format!("{}: {fits:?}, Python {}", row[0], row[2]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() >= 500);
}

#[test]
fn look_arounds_that_lie_in_each_other_do_not_hang() {
    let started = Instant::now();
    let name = "a".repeat(200);
    let ahead = "(?=.*".repeat(40) + "b" + &")".repeat(40) + ".*";
    assert!(!of(lora(json!({"target_modules": ahead}))).targets(&name, true, false));
    let behind = "(?<!b(?:".repeat(15) + "b" + &"))".repeat(15) + "(?:a|a)+";
    assert!(read(&lora(json!({"target_modules": behind}))).is_ok());
    let empty = "(?:".repeat(20) + "(?:)" + &"{9999})".repeat(20);
    assert!(of(lora(json!({"target_modules": empty}))).targets("", true, false));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
