//! Adapters that put virtual tokens in front of a text: what generation promises holds with them.

use crate::common::backends;
use crate::common::models::LLAMA;
use lorakeet::engine::{Choice, Engine, EngineOptions, Overflow, Request};
use wasm_bindgen_test::wasm_bindgen_test;

const IDS: [u32; 9] = [5, 90, 17, 203, 41, 8, 120, 299, 66];

macro_rules! adapter {
    ($name:literal) => {
        [
            &include_bytes!(concat!("../fixtures/adapters/llama/", $name, "/adapter_config.json"))[..],
            include_bytes!(concat!("../fixtures/adapters/llama/", $name, "/adapter_model.safetensors")),
        ]
    };
}

/// An engine with `prompt` (5 virtual tokens), `prefix` (4), `lora`, and another prompt before
/// them, so that no virtual token is the first.
async fn open(backend: lorakeet::backend::Backend, options: &EngineOptions) -> Engine {
    let mut engine = LLAMA.open(backend, options).expect("valid");
    let adapters = [
        ("other", adapter!("prompt")),
        ("prompt", adapter!("prompt")),
        ("prefix", adapter!("prefix")),
        ("lora", adapter!("qv")),
    ];
    for (name, [config, weights]) in adapters {
        engine.load_adapter(name, config, weights).await.expect("fits");
    }
    engine
}

fn choice(names: &[&str]) -> Choice {
    names.iter().map(|name| ((*name).to_owned(), 1.0)).collect()
}

fn request(names: &[&str], max_tokens: usize) -> Request {
    Request { adapter: Some(choice(names)), ..Request::greedy(IDS.to_vec(), max_tokens) }
}

async fn run(engine: &mut Engine, requests: &[Request]) -> Vec<Vec<u32>> {
    let mut generation = engine.start(requests).expect("valid");
    let mut tokens = vec![Vec::new(); requests.len()];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("works") {
            tokens[delta.index].extend(delta.tokens);
        }
    }
    engine.end(generation);
    tokens
}

/// The greedy text is that of the logits, which PEFT judges: with each kind, cached and not, and
/// beside others in one batch.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn text_follows_the_logits() {
    for (name, backend) in backends().await {
        let mut engine = open(backend, &EngineOptions::default()).await;
        let kinds: [&[&str]; 5] = [&[], &["prompt"], &["prefix"], &["lora", "prefix"], &["prompt", "lora"]];
        let mut texts = Vec::new();
        for names in kinds {
            engine.set_adapter(choice(names)).expect("loaded");
            let mut ids = IDS.to_vec();
            for _ in 0..8 {
                let logits = engine.logits(&ids).await.expect("fits");
                let last = &logits[logits.len() - engine.config().vocab_size..];
                let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).expect("some");
                ids.push(best as u32);
            }
            let text = run(&mut engine, &[request(names, 8)]).await.remove(0);
            assert_eq!(text, ids[IDS.len()..], "{names:?} on {name}");
            let again = run(&mut engine, &[request(names, 8)]).await.remove(0);
            assert_eq!(again, text, "{names:?} again on {name}");
            let again = engine.start(&[request(names, 8)]).expect("valid");
            let usage = again.usage(0);
            assert_eq!((usage.prompt_tokens, usage.cached_tokens), (IDS.len(), IDS.len() - 1), "{names:?}");
            engine.end(again);
            assert!(!texts.contains(&text), "{names:?} on {name}: says what another says");
            texts.push(text);
        }
        let requests = kinds.map(|names| request(names, 8));
        assert_eq!(run(&mut engine, &requests).await, texts, "in one batch on {name}");
    }
}

/// A window that slides keeps the virtual tokens: the text is that of a run over what is kept.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_sliding_window_keeps_them() {
    for (name, backend) in backends().await {
        let options = EngineOptions { context_length: Some(32), batch: Some(1), ..EngineOptions::default() };
        let mut engine = open(backend, &options).await;
        for (kind, n_virtual) in [("prompt", 5), ("prefix", 4)] {
            let slides = Request { overflow: Overflow::Slide, ..request(&[kind], 40) };
            let long = run(&mut engine, std::slice::from_ref(&slides)).await.remove(0);
            assert_eq!(long.len(), 40);
            // Once the 33rd token is drawn, the sinks and the newest half of the rest stay.
            let drawn = 33 - n_virtual - IDS.len();
            let all = [&IDS[..], &long[..drawn]].concat();
            let sinks = 4.min((32 - n_virtual) / 4);
            let newest = all.len() - (32 - n_virtual - sinks) / 2;
            let kept = [&all[..sinks], &all[newest..]].concat();
            let short = Request { prompt: kept, max_tokens: Some(6), ..request(&[kind], 6) };
            let next = run(&mut engine, &[short]).await.remove(0);
            assert_eq!(next, long[drawn..drawn + 6], "{kind} on {name}");
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn what_cannot_be_is_refused_by_name() {
    let (_, backend) = backends().await.remove(1);
    let options = EngineOptions { context_length: Some(32), batch: Some(1), ..EngineOptions::default() };
    let mut engine = open(backend, &options).await;
    let refused = |result: lorakeet::Result<()>| result.expect_err("refused").to_string();
    assert_eq!(
        refused(engine.set_adapter(vec![("prompt".to_owned(), 0.5)])),
        "adapter `prompt`: weight 0.5, expected 1 or 0: virtual tokens are there or not"
    );
    assert_eq!(
        refused(engine.set_adapter(choice(&["prompt", "prefix"]))),
        "adapters `prompt` and `prefix` both have virtual tokens, expected one such"
    );
    assert_eq!(
        engine.start(&[request(&["prompt"], 20)]).expect_err("too long").to_string(),
        "prompt of 9 tokens with 5 virtual tokens and max_tokens 20 exceed the context of 32"
    );
    let info = engine.get_adapter("prefix").expect("loaded");
    assert_eq!((info.virtual_tokens, info.rank, info.modules.len()), (4, 0, 0));
    let short = EngineOptions { context_length: Some(4), batch: Some(1), ..EngineOptions::default() };
    let (_, backend) = backends().await.remove(1);
    let mut engine = LLAMA.open(backend, &short).expect("valid");
    let [config, weights] = adapter!("prefix");
    let error = engine.load_adapter("prefix", config, weights).await.expect_err("no room for a text");
    assert_eq!(error.to_string(), "4 virtual tokens, the context has 4");
}
