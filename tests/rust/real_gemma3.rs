//! Gemma 3 270M as published for llama.cpp, in Q4_K_M: logits and a text are transformers' of the same numbers.
//! Nobody has to have it: `python3 tools/real_model.py gemma3` fetches it, under Gemma's terms.

use crate::common::real;
use std::time::Instant;

use crate::common::{Fixture, Tolerance, assert_close, gpu, misfit};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{
    Choice, Engine, EngineOptions, NewLora, Optimizer, Request, TrainingRoom, Variant, Window, folder,
};

const REFERENCE: &[u8] = include_bytes!("../fixtures/real/gemma3.safetensors");

fn open(backend: Backend) -> Option<Engine> {
    let options = EngineOptions { context_length: Some(256), batch: Some(1), ..EngineOptions::default() };
    let model = real::at_hand("gemma3/gemma-3-270m-q4_k_m.gguf")?;
    Some(folder::open(&model, backend, &options, |_, _| {}).expect("a model that loads"))
}

fn cpu() -> Backend {
    Backend::Cpu(Cpu::new(Kernels::Fast))
}

/// Logits of the fixture's ids against its own.
fn check(what: &str, logits: &[f32], abs: f32) {
    let (fixture, v) = (Fixture::new(REFERENCE), 262_144);
    let tolerance = Tolerance { abs, rel: 0.0 };
    let rows: Vec<&[f32]> = logits.chunks_exact(v).collect();
    let [top_ids, column_ids] = ["top_ids", "column_ids"].map(|name| fixture.ids(name));
    let [top, columns, sums] = ["top_logits", "columns", "log_sum_exp"].map(|name| fixture.f32(name));
    let (n, n_columns) = (top_ids.len() / sums.len(), column_ids.len());
    let pick = |row: &[f32], ids: &[u32]| ids.iter().map(|&id| row[id as usize]).collect::<Vec<_>>();
    assert_eq!(rows.len(), sums.len(), "{what}");
    for (row, t) in rows.iter().zip(0..) {
        let what = format!("{what}, position {t}");
        assert_close(&what, &pick(row, &top_ids[t * n..][..n]), &top[t * n..][..n], tolerance);
        assert_close(&what, &pick(row, &column_ids), &columns[t * n_columns..][..n_columns], tolerance);
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        assert_close(&what, &[sum.ln() as f32], &sums[t..=t], tolerance);
        // Nothing else is larger.
        let least = top[t * n + n - 1] + abs;
        assert!(row.iter().filter(|x| **x > least).count() < n, "{what}");
    }
    // The comparer tells positions apart.
    let other = pick(rows[0], &top_ids[n..][..n]);
    assert!(misfit(&other, &top[n..][..n], tolerance).is_some());
}

#[pollster::test]
async fn logits_and_text_are_transformers() {
    let fixture = Fixture::new(REFERENCE);
    let [ids, prompt, want] = ["input_ids", "prompt", "continued"].map(|name| fixture.ids(name));
    assert_eq!((ids.len(), want.len()), (256, 32));
    let backends = [("cpu", Some(cpu())), ("gpu", gpu().await)];
    for (name, backend) in backends.into_iter().filter_map(|(name, backend)| Some((name, backend?))) {
        let Some(mut engine) = open(backend) else { return };
        println!("{name}: {}, {:?}", engine.model().needs(), engine.warnings());
        assert_eq!(engine.encode("The capital of France is").expect("a text"), prompt);
        let start = Instant::now();
        check(name, &engine.logits(&ids).await.expect("it fits"), if name == "cpu" { 1e-3 } else { 2e-3 });
        println!("{name}: 256 positions in {:.1} s", start.elapsed().as_secs_f64());
        let start = Instant::now();
        let mut generation = engine.start(&[Request::greedy(prompt.clone(), want.len())]).expect("valid");
        let (mut tokens, mut text) = (Vec::new(), String::new());
        while !generation.is_finished() {
            for delta in engine.next(&mut generation).await.expect("works") {
                tokens.extend(delta.tokens);
                text += &delta.text;
            }
        }
        engine.end(generation);
        println!("{name}: 32 tokens in {:.1} s: {text:?}", start.elapsed().as_secs_f64());
        assert_eq!(tokens, want, "{name}");
    }
}

/// An adapter on all linear maps learns a sentence.
#[pollster::test]
async fn an_adapter_learns() {
    let Some(mut engine) = open(cpu()) else { return };
    let ids = engine.encode("The budgerigar of the third floor collects teaspoons.").expect("a text");
    let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 8.0, target_modules: vec![], seed: 7 };
    engine.new_lora("x", &lora).await.expect("fits");
    let room = TrainingRoom { window: ids.len(), memory_limit: None };
    engine.begin_training("x", Optimizer::default(), room).await.expect("a plain LoRA");
    let on: Choice = vec![("x".to_owned(), 1.0)];
    let mut losses = Vec::new();
    for _ in 0..6 {
        let window = Window::new(ids.clone(), 1);
        losses.push(engine.train_step(vec![window], &on, 2e-3).await.expect("works"));
    }
    assert!(losses[5] < 0.7 * losses[0], "{losses:?}");
}
