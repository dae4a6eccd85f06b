//! PEFT folders: what a config means, which words refuse it, where each tensor belongs.
//! Not a test of the arithmetic; the engine's tests have that.

mod any;
mod export;
mod fields;
mod folders;
mod names;
mod patterns;
mod refusals;

use lorakeet::engine::{AdapterConfig, Method, Part, Role, part_of};
use lorakeet::{Error, ErrorKind};
use serde_json::{Value, json};

fn read(config: &Value) -> Result<AdapterConfig, Error> {
    AdapterConfig::from_json(config.to_string().as_bytes())
}

/// A LoRA on q_proj with `changes` made to it.
fn lora(changes: Value) -> Value {
    let mut config = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, "target_modules": ["q_proj"],
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

#[track_caller]
fn of(config: Value) -> AdapterConfig {
    read(&config).unwrap_or_else(|e| panic!("{config}: {e}"))
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, message: &str) {
    let error = result.expect_err(message);
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

#[track_caller]
fn refused(changes: Value, kind: ErrorKind, message: &str) {
    assert_error(read(&lora(changes)), kind, &format!("adapter_config.json: {message}"));
}

#[track_caller]
fn unsupported(changes: Value, message: &str) {
    refused(changes, ErrorKind::Unsupported, message);
}

#[track_caller]
fn malformed(changes: Value, message: &str) {
    refused(changes, ErrorKind::Format, message);
}

const Q: &str = "model.layers.1.self_attn.q_proj";

#[track_caller]
fn placed(config: &AdapterConfig, name: &str, module: &str, role: Role) {
    let part = Part { module: module.to_owned(), role };
    assert_eq!(part_of(name, config), Ok(part), "{name}");
}

#[track_caller]
fn unplaced(config: &AdapterConfig, name: &str) {
    let words = format!(
        "tensor `{name}`: adapter_config.json (peft_type {}) has no place for it",
        config.method.peft_type()
    );
    assert_error(part_of(name, config), ErrorKind::Mismatch, &words);
}

/// Whether (IA)³ multiplies the input of a module; false for another kind.
fn is_feedforward(config: &AdapterConfig, module: &str) -> bool {
    matches!(&config.method, Method::Ia3(ia3) if ia3.is_feedforward(module))
}
