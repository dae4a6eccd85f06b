//! Work is given to a GPU in pieces that fit its speed; what is computed does not depend on them.

use std::cell::Cell;

use crate::common::gpu_with;
use crate::common::models::LLAMA;
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
    let mut generation = engine.start(&[Request::greedy((1..33).collect(), 90)]).expect("valid");
    engine.next(&mut generation).await.expect("works");
    let first = counts(&engine);
    assert!(first.submits > 10, "every step of the first run is a submit: {first:?}");
    // Blocks of 1, 2, 4, 8 and 16; the next, which is twice as long, was given when no more than eights were known.
    let mut tokens = 0;
    while tokens < 31 {
        tokens += engine.next(&mut generation).await.expect("works")[0..]
            .iter()
            .map(|d| d.tokens.len())
            .sum::<usize>();
    }
    let before = counts(&engine);
    while !generation.is_finished() {
        engine.next(&mut generation).await.expect("works");
    }
    let after = counts(&engine);
    engine.end(generation);
    let (submits, reads) = (after.submits - before.submits, after.reads - before.reads);
    assert!(reads > 0 && submits == reads, "{submits} submits, {reads} reads");
    assert_eq!((after.buffers, after.bind_groups), (before.buffers, before.bind_groups));
}

/// The tokens of each text, and how many came at once.
async fn texts(engine: &mut Engine, requests: &[Request]) -> (Vec<Vec<u32>>, Vec<usize>) {
    let mut generation = engine.start(requests).expect("valid");
    let (mut tokens, mut blocks) = (vec![Vec::new(); requests.len()], Vec::new());
    while !generation.is_finished() {
        let deltas = engine.next(&mut generation).await.expect("works");
        blocks.extend(deltas.iter().map(|delta| delta.tokens.len()).max());
        deltas.into_iter().for_each(|delta| tokens[delta.index].extend(delta.tokens));
    }
    engine.end(generation);
    (tokens, blocks)
}

fn greedy(first: u32, tokens: usize) -> Request {
    Request::greedy((first..first + 9).collect(), tokens)
}

/// Where every wait takes 50 ms, whatever is waited for, blocks grow until they take as long.
#[pollster::test]
async fn blocks_are_longer_where_waiting_is_slow() {
    let mut want = None;
    let still: fn() -> f64 = || 0.0;
    let by_eights = [&[1, 2, 4][..], &[8; 10], &[3]].concat();
    for (clock, blocks) in [(quick as fn() -> f64, vec![1, 2, 4, 8, 16, 32, 27]), (still, by_eights)] {
        let options = GpuOptions { default_limits: true, clock: Some(clock), ..GpuOptions::default() };
        let Some(gpu) = gpu_with(options).await else { return };
        let mut engine = LLAMA.open(gpu, &EngineOptions::default()).expect("valid");
        let (tokens, got) = texts(&mut engine, &[greedy(5, 90)]).await;
        assert_eq!(got, blocks);
        assert_eq!(&tokens, want.get_or_insert_with(|| tokens.clone()));
    }
}

/// A block is on its way while the one before it is looked at; whatever ends a text there, no token behind it is shown, and
/// nothing that comes into its slot sees it.
#[pollster::test]
async fn what_is_drawn_ahead_is_not_shown() {
    let options = GpuOptions { default_limits: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(options).await else { return };
    let two = EngineOptions { batch: Some(2), ..EngineOptions::default() };
    let mut engine = LLAMA.open(gpu, &two).expect("valid");
    // With a stop string every block is looked at before the next is given.
    let mut want = Vec::new();
    for (first, tokens) in [(5, 13), (40, 45), (70, 60)] {
        let watched = Request { stop: vec!["\u{1f426}".to_owned()], ..greedy(first, tokens) };
        want.push(texts(&mut engine, &[watched]).await.0.remove(0));
    }
    let (got, _) = texts(&mut engine, &[greedy(5, 13), greedy(40, 45)]).await;
    assert_eq!(got, want[..2], "texts of unequal length");
    let end = want[2][20];
    let stopped = Request { stop_tokens: vec![end], ..greedy(70, 60) };
    let until = want[2].iter().position(|token| *token == end).expect("it is there");
    let (got, _) = texts(&mut engine, &[stopped, greedy(40, 45)]).await;
    assert_eq!(got, [want[2][..until].to_vec(), want[1].clone()], "one ends by a token");
    // One is given up with a block on its way, and another comes into its slot.
    for _ in 0..2 {
        let mut given_up = engine.start(&[greedy(40, 45)]).expect("valid");
        let mut tokens = 0;
        while tokens < 15 {
            let deltas = engine.next(&mut given_up).await.expect("works");
            tokens += deltas.iter().map(|delta| delta.tokens.len()).sum::<usize>();
        }
        engine.end(given_up);
        let (got, _) = texts(&mut engine, &[greedy(70, 60)]).await;
        assert_eq!(got, want[2..], "after one that was given up");
    }
    // Two take turns on the device.
    let mut turns = [greedy(40, 45), greedy(70, 60)]
        .map(|request| (engine.start(&[request]).expect("valid"), Vec::new()));
    while turns.iter().any(|(generation, _)| !generation.is_finished()) {
        for (generation, tokens) in &mut turns {
            tokens.extend(engine.next(generation).await.expect("works").into_iter().flat_map(|d| d.tokens));
        }
    }
    let got = turns.map(|(generation, tokens)| {
        engine.end(generation);
        tokens
    });
    assert_eq!(got, want[1..], "in turns");
}
