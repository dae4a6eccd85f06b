//! `inspect`: what a model is made of, and the steps that decode a token.

use std::collections::BTreeMap;

use lorakeet::engine::Engine;
use serde_json::json;

/// Prints the architecture, sizes and, if asked, the decode plan.
pub fn run(engine: &Engine, with_plan: bool, as_json: bool) {
    let (model, config) = (engine.model(), engine.config());
    let parameters = model.weights.parameters();
    let plan = model.decode(1);
    if as_json {
        let report = json!({
            "family": format!("{:?}", config.family),
            "parameters": parameters,
            "layers": config.num_hidden_layers,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "attention_heads": config.num_attention_heads,
            "key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "vocab_size": config.vocab_size,
            "tokenizer_tokens": engine.tokenizer().vocab_size(),
            "context": model.context(),
            "slots": model.slots(),
            "device_bytes": model.tensors.total_bytes(),
            "weights": model.weights.held().iter().map(|(dtype, n)| (dtype.name(), *n)).collect::<BTreeMap<_, _>>(),
            "warnings": engine.warnings(),
            "steps_per_token": plan.steps().len(),
            "backend": engine.backend().name(),
        });
        println!("{report}");
        return;
    }
    println!(
        "{:?}: {:.2} M parameters, {} layers of {} ({} / {} heads of {}, feed-forward {})",
        config.family,
        parameters as f64 / 1e6,
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.intermediate_size,
    );
    println!(
        "vocabulary {} ({} in the tokenizer), context {} of {}",
        config.vocab_size,
        engine.tokenizer().vocab_size(),
        model.context(),
        config.max_position_embeddings,
    );
    println!(
        "{:.1} MiB on the device with room for {} sequences, {} steps a token",
        model.tensors.total_bytes() as f64 / (1 << 20) as f64,
        model.slots(),
        plan.steps().len(),
    );
    let held = model.weights.held();
    let held = held.iter().map(|(dtype, n)| format!("{:.2} M as {}", *n as f64 / 1e6, dtype.name()));
    println!("weights held: {}", held.collect::<Vec<_>>().join(", "));
    for adapter in engine.list_adapters() {
        println!(
            "adapter {}: rank {}, {} modules, {:.1} KiB",
            adapter.name,
            adapter.rank,
            adapter.modules.len(),
            adapter.bytes as f64 / 1024.0
        );
    }
    if with_plan {
        print!("{}", plan.display(&model.tensors));
    }
}
