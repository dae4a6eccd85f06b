//! Work is given to a GPU in pieces that fit its speed; what is computed does not depend on them.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::cell::Cell;

use common::gpu_with;
use common::models::LLAMA;
use lorakeet::backend::Backend;
use lorakeet::backend::gpu::{Counts, GpuOptions};
use lorakeet::engine::{Engine, EngineOptions, NewLora, Optimizer, Request, TrainingRoom, Variant, Window};

thread_local! {
    static TIME: Cell<f64> = const { Cell::new(0.0) };
}

/// A clock by which all that is waited for takes four seconds.
fn slow() -> f64 {
    TIME.replace(TIME.get() + 4000.0)
}

/// A clock by which it takes 50 ms.
fn quick() -> f64 {
    TIME.replace(TIME.get() + 50.0)
}

fn counts(engine: &Engine) -> Counts {
    match engine.backend() {
        Backend::Gpu(gpu) => gpu.counts(),
        Backend::Cpu(_) => unreachable!("opened on a GPU"),
    }
}

/// What a step of training leaves: its loss, and the adapter's file.
async fn lesson(engine: &mut Engine) -> (u64, Vec<u8>) {
    let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 8.0, target_modules: Vec::new(), seed: 3 };
    engine.new_lora("x", &lora).await.expect("fits");
    let room = TrainingRoom { window: 128, memory_limit: None };
    engine.begin_training("x", Optimizer::default(), room).await.expect("a plain LoRA");
    let tokens = (0..120).map(|i| 5 + i * 11 % 240).collect();
    let window = Window::new(tokens, 3);
    let choice = vec![("x".to_owned(), 1.0)];
    let loss = engine.train_step(vec![window], &choice, 1e-2).await.expect("a loss");
    engine.end_training().await.expect("frees");
    (loss.to_bits(), engine.export_adapter("x").await.expect("a LoRA").weights)
}

/// Logits, and a text drawn after a long prompt.
async fn answers(engine: &mut Engine) -> (Vec<u32>, Vec<u32>) {
    let prompt: Vec<u32> = (0..101).map(|i| 3 + i * 7 % 250).collect();
    let logits = engine.logits(&prompt).await.expect("fits");
    let mut generation = engine.start(&[Request::greedy(prompt[..90].to_vec(), 20)]).expect("valid");
    let mut tokens = Vec::new();
    while !generation.is_finished() {
        tokens.extend(engine.next(&mut generation).await.expect("works").into_iter().flat_map(|d| d.tokens));
    }
    engine.end(generation);
    (logits.iter().map(|logit| logit.to_bits()).collect(), tokens)
}

#[pollster::test]
async fn answers_do_not_depend_on_how_work_is_parted() {
    for software in [false, true] {
        let options = GpuOptions { default_limits: true, software: Some(software), ..GpuOptions::default() };
        // A small model is work for a slow device only if that is very slow.
        let careful = GpuOptions { least_speed: Some(1.0), ..options.clone() };
        let mut want = None;
        for (name, options, parts) in [
            ("as it is", options, false),
            ("quick", GpuOptions { clock: Some(quick), ..careful.clone() }, false),
            ("slow", GpuOptions { clock: Some(slow), ..careful }, true),
        ] {
            let Some(gpu) = gpu_with(options).await else { return };
            let mut engine = LLAMA.open(gpu, &EngineOptions::default()).expect("valid");
            let got = (answers(&mut engine).await, lesson(&mut engine).await);
            assert_eq!(&got, want.get_or_insert_with(|| got.clone()), "{name}");
            let ids: Vec<u32> = (1..129).collect();
            for _ in 0..2 {
                engine.logits(&ids).await.expect("fits");
            }
            // The speed of such a run is known by now.
            let before = counts(&engine);
            engine.logits(&ids).await.expect("fits");
            let after = counts(&engine);
            let (submits, reads) = (after.submits - before.submits, after.reads - before.reads);
            if parts {
                assert!(reads >= 8, "{name}: 16 rows a run, {reads} runs");
                assert!(submits >= 5 * reads, "{name}: {submits} submits in {reads} runs");
            } else {
                assert_eq!((submits, reads), (1, 1), "{name}");
            }
        }
    }
}

/// On a device that has been found fast, a block of tokens is one submit.
#[pollster::test]
async fn a_device_is_met_with_care_until_it_is_known() {
    let options = GpuOptions {
        default_limits: true,
        clock: Some(quick),
        least_speed: Some(1.0),
        ..GpuOptions::default()
    };
    let Some(gpu) = gpu_with(options).await else { return };
    let mut engine = LLAMA.open(gpu, &EngineOptions::default()).expect("valid");
    let mut generation = engine.start(&[Request::greedy((1..33).collect(), 60)]).expect("valid");
    engine.next(&mut generation).await.expect("works");
    let first = counts(&engine);
    assert!(first.submits > 10, "every step of the first run is a submit: {first:?}");
    let mut tokens = 0;
    while tokens < 15 {
        tokens += engine.next(&mut generation).await.expect("works")[0..]
            .iter()
            .map(|d| d.tokens.len())
            .sum::<usize>();
    }
    let before = counts(&engine);
    for _ in 0..4 {
        engine.next(&mut generation).await.expect("works");
    }
    let after = counts(&engine);
    engine.end(generation);
    assert_eq!((after.submits - before.submits, after.reads - before.reads), (4, 4));
    assert_eq!((after.buffers, after.bind_groups), (before.buffers, before.bind_groups));
}
