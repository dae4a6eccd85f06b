//! `inspect`: what a model is made of, and the steps that decode a token.

use std::collections::BTreeMap;
use std::path::Path;

use lorakeet::Result;
use lorakeet::dtype::Dtype;
use lorakeet::engine::{AdapterInfo, Engine, EngineOptions, folder};
use lorakeet::model::{Model, Needs};
use serde_json::{Value, json};

use super::{Args, DEFAULT_MODEL, backend};

/// What there is to tell of a model.
struct Subject<'a> {
    model: &'a Model,
    tokenizer_tokens: Option<usize>,
    warnings: &'a [String],
    backend: &'a str,
    threads: usize,
    adapters: Vec<AdapterInfo>,
    /// What all tensors take by the type that weights are held as.
    memory: Vec<(&'a str, Option<Needs>)>,
}

/// Prints the architecture, sizes and, if asked, the decode plan of a model that is not loaded.
///
/// Errors as [`folder::describe`].
pub(crate) async fn describe(args: &Args, with_plan: bool) -> Result<()> {
    let backend = backend(args).await?;
    let options = EngineOptions {
        context_length: args.context_length,
        dtype: args.dtype,
        kv_dtype: args.kv_dtype,
        batch: None,
    };
    let model = args.model.as_deref().unwrap_or(Path::new(DEFAULT_MODEL));
    let (name, threads) = (backend.name(), backend.threads());
    let description = folder::describe(model, backend, &options)?;
    print(
        &Subject {
            model: &description.model,
            tokenizer_tokens: description.tokenizer_tokens,
            warnings: &description.warnings,
            backend: name,
            threads,
            adapters: Vec::new(),
            memory: Dtype::choices().map(|dtype| (dtype.name(), description.needs_as(dtype).ok())).collect(),
        },
        with_plan,
        args.json,
    );
    Ok(())
}

/// The same of one that is, with its adapters.
pub(crate) fn run(engine: &Engine, with_plan: bool, as_json: bool) {
    print(
        &Subject {
            model: engine.model(),
            tokenizer_tokens: Some(engine.tokenizer().vocab_size()),
            warnings: engine.warnings(),
            backend: engine.backend().name(),
            threads: engine.backend().threads(),
            adapters: engine.list_adapters().cloned().collect(),
            memory: Vec::new(),
        },
        with_plan,
        as_json,
    );
}

fn print(subject: &Subject, with_plan: bool, as_json: bool) {
    let (model, config) = (subject.model, &subject.model.config);
    let parameters = model.weights.parameters();
    let plans = model.plans_of_a_token();
    let steps = plans.iter().map(|plan| plan.steps().len()).sum::<usize>();
    if as_json {
        let report = json!({
            "family": config.family.name,
            "parameters": parameters,
            "layers": config.layers.len(),
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "attention_heads": config.num_attention_heads,
            "key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "vocab_size": config.vocab_size,
            "tokenizer_tokens": subject.tokenizer_tokens,
            "context": model.context(),
            "slots": model.slots(),
            "device_bytes": model.tensors.total_bytes(),
            "weights": model.weights.held().iter().map(|(dtype, n)| (dtype.name(), *n)).collect::<BTreeMap<_, _>>(),
            "warnings": subject.warnings,
            "steps_per_token": steps,
            "backend": subject.backend,
            "threads": subject.threads,
            "memory_bytes": subject.memory.iter().map(|(name, needs)| ((*name).to_owned(), json!(needs.map(|needs| needs.total())))).collect::<serde_json::Map<String, Value>>(),
        });
        println!("{report}");
        return;
    }
    println!(
        "{}: {:.2} M parameters, {} layers of {} ({} / {} heads of {}, feed-forward {})",
        config.family.name,
        parameters as f64 / 1e6,
        config.layers.len(),
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.intermediate_size,
    );
    println!(
        "vocabulary {} ({}), context {} of {}",
        config.vocab_size,
        subject.tokenizer_tokens.map_or("no tokenizer".to_owned(), |n| format!("{n} in the tokenizer")),
        model.context(),
        config.max_position_embeddings,
    );
    println!(
        "{:.1} MiB on the device ({}, threads: {}) with room for {} sequences, {} steps a token",
        model.tensors.total_bytes() as f64 / (1 << 20) as f64,
        subject.backend,
        subject.threads,
        model.slots(),
        steps,
    );
    let held = model.weights.held();
    let held = held.iter().map(|(dtype, n)| format!("{:.2} M as {}", *n as f64 / 1e6, dtype.name()));
    println!("weights held: {}", held.collect::<Vec<_>>().join(", "));
    for (dtype, needs) in &subject.memory {
        let needs = needs.map_or("more than can be addressed".to_owned(), |needs| needs.to_string());
        println!("memory with weights as {dtype}: {needs}");
    }
    subject.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    for adapter in &subject.adapters {
        println!(
            "adapter {}: rank {}, {} modules, {:.1} KiB",
            adapter.name,
            adapter.rank,
            adapter.modules.len(),
            adapter.bytes as f64 / 1024.0
        );
    }
    if with_plan {
        plans.iter().for_each(|plan| print!("{}", plan.display(&model.tensors)));
    }
}
