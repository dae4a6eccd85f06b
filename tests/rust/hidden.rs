//! Hidden states against transformers, and the embeddings and log probabilities made of what a model computes.

use crate::common::models::{LLAMA, models};
use crate::common::{Fixture, Tolerance, assert_close, backends};
use lorakeet::ErrorKind;
use lorakeet::engine::{EngineOptions, Pooling, Request};
use wasm_bindgen_test::wasm_bindgen_test;

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 1e-4 }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn hidden_states_equal_those_of_transformers() {
    let fixture = Fixture::new(include_bytes!("../fixtures/models/hidden.safetensors"));
    let ids = fixture.ids("ids");
    for files in models() {
        for (name, backend) in backends().await {
            let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
            let layers = engine.config().layers.len();
            let c = engine.config().hidden_size;
            for layer in [0, 1, layers] {
                let want = fixture.f32(&format!("{}/{layer}", files.name));
                let what = format!("{} layer {layer} on {name}", files.name);
                let got = engine.hidden_states(&ids, None, Some(layer)).await.expect("it fits");
                assert_close(&what, &got, &want, tolerance(name));
            }
            let last = fixture.f32(&format!("{}/{layers}", files.name));
            let rows: Vec<&[f32]> = last.chunks_exact(c).collect();
            let mean: Vec<f32> =
                (0..c).map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / rows.len() as f32).collect();
            for (pooling, want) in
                [(Pooling::Cls, rows[0]), (Pooling::Last, rows[rows.len() - 1]), (Pooling::Mean, &mean[..])]
            {
                let got = engine.embed(&ids, None, None, pooling).await.expect("it fits");
                assert_close(&format!("{} {pooling:?} on {name}", files.name), &got, want, tolerance(name));
            }
            let error = engine.hidden_states(&ids, None, Some(layers + 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument);
        }
    }
}

/// What a generation tells of its tokens is what the logits at their places say, whatever the sampling.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn log_probabilities_are_those_of_the_logits() {
    let prompt = vec![5, 90, 17, 203];
    for (name, backend) in backends().await {
        let mut engine = LLAMA.open(backend, &EngineOptions::default()).expect("valid");
        let request = Request {
            temperature: 1.3,
            top_k: 9,
            repetition_penalty: 1.2,
            seed: 3,
            logprobs: Some(4),
            ..Request::greedy(prompt.clone(), 12)
        };
        let plain = Request { logprobs: None, ..request.clone() };
        let mut generation = engine.start(&[request, plain]).expect("valid");
        let (mut told, mut tokens) = (Vec::new(), [Vec::new(), Vec::new()]);
        while !generation.is_finished() {
            for delta in engine.next(&mut generation).await.expect("works") {
                assert_eq!(delta.logprobs.len(), if delta.index == 0 { delta.tokens.len() } else { 0 });
                told.extend(delta.logprobs);
                tokens[delta.index].extend(delta.tokens);
            }
        }
        engine.end(generation);
        assert_eq!(tokens[0], tokens[1], "{name}: telling changes nothing");
        let ids = [&prompt[..], &tokens[0]].concat();
        let logits = engine.logits(&ids).await.expect("it fits");
        let v = engine.config().vocab_size;
        for (i, told) in told.iter().enumerate() {
            let row = &logits[(prompt.len() - 1 + i) * v..][..v];
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total = row.iter().map(|l| (l - most).exp()).sum::<f32>().ln() + most;
            let close = |token: u32, logprob: f32| (row[token as usize] - total - logprob).abs() < 2e-3;
            assert!(close(tokens[0][i], told.logprob), "{name}: token {i}");
            assert_eq!(told.top.len(), 4);
            assert!(told.top.iter().all(|&(token, logprob)| close(token, logprob)), "{name}: token {i}");
            assert!(told.top.is_sorted_by(|a, b| a.1 >= b.1) && row[told.top[0].0 as usize] >= most - 1e-3);
        }
    }
}

/// A text ends before a token that the request names.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_stop_token_ends_a_text() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = LLAMA.open(backend, &EngineOptions::default()).expect("valid");
    let text = |stop: Vec<u32>| Request { stop_tokens: stop, ..Request::greedy(vec![5, 90, 17], 12) };
    let mut drawn = Vec::new();
    let mut lengths = Vec::new();
    for nth in [None, Some(6)] {
        let stop = nth.map(|nth: usize| drawn[nth]).into_iter().collect();
        let first = nth.map(|nth| drawn.iter().position(|&token| token == drawn[nth]).expect("there"));
        let mut generation = engine.start(&[text(stop)]).expect("valid");
        let mut tokens = Vec::new();
        while !generation.is_finished() {
            tokens.extend(
                engine.next(&mut generation).await.expect("works").into_iter().flat_map(|d| d.tokens),
            );
        }
        engine.end(generation);
        lengths.push((tokens.len(), first.unwrap_or(12)));
        drawn = tokens;
    }
    assert!(lengths.iter().all(|(got, want)| got == want), "{lengths:?}");
}
