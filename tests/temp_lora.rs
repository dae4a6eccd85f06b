//! Temp-LoRA against a reference in PyTorch and PEFT, chunk by chunk, and its promises.
#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::path::{Path, PathBuf};

use common::{Tolerance, assert_close, backends};
use lorakeet::engine::{
    Choice, ChunkReport, Engine, EngineOptions, Finish, Kv, NewLora, Optimizer, Request, TempEvent, TempLora,
    TempLoraOptions, TrainingRoom, Variant, Window, folder,
};
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The page's small model.
fn open(backend: lorakeet::backend::Backend, options: &EngineOptions) -> Engine {
    folder::open(&repository("www/models/demo"), backend, options, |_, _| {}).expect("a valid model")
}

fn story(engine: &Engine) -> Vec<u32> {
    let text = std::fs::read_to_string(repository("tests/fixtures/training/story.txt")).expect("there");
    engine.encode(&text).expect("text")
}

fn options() -> TempLoraOptions {
    TempLoraOptions {
        rank: 4,
        alpha: 4.0,
        chunk_tokens: 48,
        context_tokens: 32,
        generated_weight: 1.0,
        replay: 0,
        ..TempLoraOptions::small(512)
    }
}

/// Does all that is asked of a temporary adapter.
async fn finish(engine: &mut Engine, temp: &mut TempLora) -> (Vec<ChunkReport>, Vec<u32>) {
    let (mut chunks, mut tokens) = (Vec::new(), Vec::new());
    loop {
        match engine.temp_next(temp, usize::MAX).await.expect("works") {
            TempEvent::Idle => return (chunks, tokens),
            TempEvent::Progress(..) => {}
            TempEvent::Text(delta) => tokens.extend(delta.tokens),
            TempEvent::Chunk(report) => chunks.push(report),
        }
    }
}

async fn evaluate(engine: &mut Engine, options: TempLoraOptions, text: &[u32]) -> Vec<ChunkReport> {
    let mut temp = engine.begin_temp_lora(options).await.expect("valid");
    engine.temp_learn(&mut temp, text, true).expect("valid");
    let (chunks, _) = finish(engine, &mut temp).await;
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    chunks
}

fn mean(chunks: &[ChunkReport], loss: impl Fn(&ChunkReport) -> Option<f64>) -> f64 {
    let labels: usize = chunks.iter().map(|chunk| chunk.labels).sum();
    chunks.iter().map(|c| loss(c).expect("scored") * c.labels as f64).sum::<f64>() / labels as f64
}

/// Every chunk's losses, before and in training, are those of the reference: the published
/// schedule, a faster one, and constant contexts.
#[pollster::test]
async fn chunks_equal_the_reference() {
    for name in ["paper", "fast", "constant"] {
        let path = repository(&format!("tests/fixtures/training/temp_lora_{name}.json"));
        let reference: Value = serde_json::from_slice(&std::fs::read(path).expect("there")).expect("JSON");
        let setting = |key: &str| reference["settings"][key].as_f64().unwrap_or_else(|| panic!("{key}"));
        // The twin is slow, and judges the others elsewhere.
        for (backend, opened) in backends().await.into_iter().skip(1) {
            let what = format!("{name} on {backend}");
            let mut engine = open(opened, &EngineOptions::default());
            let init = repository("tests/fixtures/training/temp_lora_init");
            folder::load_adapter(&mut engine, "init", &init).await.expect("fits");
            let text = story(&engine);
            let options = TempLoraOptions {
                rank: setting("rank") as usize,
                alpha: setting("alpha"),
                learning_rate: setting("lr") as f32,
                warmup_chunks: if reference["settings"]["warmup"] == "none" { 0 } else { 2 },
                warmup_start: usize::from(reference["settings"]["warmup"] == "first"),
                epochs: setting("epochs") as usize,
                chunk_tokens: setting("chunk") as usize,
                context_tokens: setting("context") as usize,
                constant_context: reference["settings"]["context_constant"] == true,
                dropout: 0.0,
                warm_start: Some("init".to_owned()),
                ..TempLoraOptions::paper(engine.model().context())
            };
            // A software GPU is slow: there the first chunks must do.
            let most = if backend == "gpu" { 3 * options.chunk_tokens } else { text.len() };
            let got = evaluate(&mut engine, options, &text[..most]).await;
            let want = reference["chunks"].as_array().expect("a list");
            assert_eq!(got.len(), if backend == "gpu" { 3 } else { want.len() }, "{what}");
            let close = |index: usize, key: &str, got: f64, want: &Value| {
                let want = want.as_f64().expect("a number") as f32;
                let tolerance = Tolerance { abs: 1e-12, rel: 5e-3 };
                assert_close(&format!("{what}, chunk {index}, {key}"), &[got as f32], &[want], tolerance);
            };
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                assert_eq!(
                    (got.index, got.tokens as u64),
                    (i, want["tokens"].as_u64().expect("a number")),
                    "{what}"
                );
                assert_eq!(got.labels as u64, want["labels"].as_u64().expect("a number"), "{what}");
                close(i, "base", got.base_loss.expect("scored"), &want["base_loss"]);
                close(i, "adapted", got.adapted_loss.expect("scored"), &want["adapted_loss"]);
                let losses = want["train_losses"].as_array().expect("a list");
                assert_eq!(got.train_losses.len(), losses.len(), "{what}");
                got.train_losses.iter().zip(losses).for_each(|(got, want)| close(i, "training", *got, want));
                close(i, "learning rate", f64::from(got.learning_rate), &want["learning_rate"]);
            }
            if backend == "gpu" {
                continue;
            }
            let perplexity = |loss: f64| loss.exp();
            let summary = &reference["summary"];
            close(0, "perplexity", perplexity(mean(&got, |c| c.base_loss)), &summary["base_perplexity"]);
            close(
                0,
                "adapted perplexity",
                perplexity(mean(&got, |c| c.adapted_loss)),
                &summary["adapted_perplexity"],
            );
        }
    }
}

/// A text with its own names and words is predicted better once they were learned, and the
/// never-worse mix keeps its word; afterwards the base is bit for bit as before.
#[pollster::test]
async fn a_story_is_learned_and_nothing_is_left_behind() {
    for (backend, opened) in backends().await.into_iter().skip(1) {
        let mut engine = open(opened, &EngineOptions::default());
        let text = story(&engine);
        let before = engine.logits(&text[..80]).await.expect("fits");
        // A software GPU is slow: a few chunks must do.
        let n = if backend == "gpu" { 5 } else { 16 };
        let chunks = evaluate(&mut engine, options(), &text[..48 * n]).await;
        let [base, adapted, mixed] = [
            mean(&chunks, |c| c.base_loss),
            mean(&chunks, |c| c.adapted_loss),
            mean(&chunks, |c| c.mixed_loss),
        ];
        assert!(adapted < base - 0.003 * n as f64, "{backend}: {adapted} of {base} nats");
        let labels: usize = chunks.iter().map(|chunk| chunk.labels).sum();
        assert!(mixed * labels as f64 <= adapted.min(base) * labels as f64 + 6f64.ln(), "{backend}");
        assert_eq!(engine.list_adapters().count(), 0, "{backend}");
        assert_eq!(engine.logits(&text[..80]).await.expect("fits"), before, "{backend}: bit for bit");
    }
}

/// The score of a chunk cannot see the chunk: other tokens in it change no earlier loss.
#[pollster::test]
async fn no_score_sees_what_it_scores() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    let one = evaluate(&mut engine, options(), &text[..48 * 4]).await;
    let mut other = text[..48 * 4].to_vec();
    other[48 * 3..].iter_mut().for_each(|token| *token = (*token + 7) % 300);
    let two = evaluate(&mut engine, options(), &other).await;
    assert_eq!(one[..3], two[..3]);
    assert_ne!(one[3].adapted_loss, two[3].adapted_loss);
    // And what it learns from a chunk, it uses for the next.
    let mut first = text[..48 * 4].to_vec();
    first[5] = 9;
    let three = evaluate(&mut engine, options(), &first).await;
    assert_ne!(one[1].adapted_loss, three[1].adapted_loss);
}

/// Beside a style adapter, whose own weights stay as they are.
#[pollster::test]
async fn it_learns_beside_another_adapter_and_can_be_kept() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let init = repository("tests/fixtures/training/temp_lora_init");
    let text = story(&engine);
    folder::load_adapter(&mut engine, "style", &init).await.expect("fits");
    let style: Choice = vec![("style".to_owned(), 1.0)];
    let before = engine.export_adapter("style").await.expect("a folder");
    let mut temp = engine
        .begin_temp_lora(TempLoraOptions { beside: style, ..options() })
        .await
        .expect("both are plain LoRAs");
    engine.temp_learn(&mut temp, &text[..200], false).expect("valid");
    let (chunks, _) = finish(&mut engine, &mut temp).await;
    assert!(chunks.iter().all(|chunk| chunk.base_loss.is_none() && chunk.train_losses.len() == 2));
    engine.end_temp_lora(&mut temp, Some("kept")).await.expect("kept");
    assert_eq!(engine.export_adapter("style").await.expect("a folder"), before);
    let names: Vec<_> = engine.list_adapters().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["style", "kept"]);
    let logits =
        |choice: &[(&str, f32)]| -> Choice { choice.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect() };
    engine.set_adapter(logits(&[("kept", 1.0)])).expect("loaded");
    let kept = engine.logits(&text[..60]).await.expect("fits");
    let exported = engine.export_adapter("kept").await.expect("a LoRA");
    engine.load_adapter("again", &exported.config, &exported.weights).await.expect("PEFT's folder");
    engine.set_adapter(logits(&[("again", 1.0)])).expect("loaded");
    assert_close(
        "again",
        &engine.logits(&text[..60]).await.expect("fits"),
        &kept,
        Tolerance { abs: 1e-4, rel: 0.0 },
    );
}

/// Far more text than the context holds, with each way to treat old keys and values: every chunk
/// is learned, and memory stays as it was after the first.
#[pollster::test]
async fn generation_goes_on_past_the_context_in_bounded_memory() {
    for kv in [Kv::Recompute, Kv::Stale, Kv::ResetEvery(3)] {
        let most = if kv == Kv::Stale { 2 } else { 1 }; // a software GPU is slow
        for (backend, opened) in backends().await.into_iter().skip(1).take(most) {
            let sizes =
                EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
            let mut engine = open(opened, &sizes);
            let prompt = engine.encode("Once upon a time there was a fox").expect("text");
            let mut temp = engine
                .begin_temp_lora(TempLoraOptions { kv, max_repetition: 1.0, ..options() })
                .await
                .expect("valid");
            let request = Request { temperature: 1.0, ..Request::greedy(prompt, 220) };
            engine.temp_generate(&mut temp, request, false).expect("valid");
            let mut bytes = None;
            let (mut chunks, mut tokens, mut finish) = (0, 0, None);
            loop {
                match engine.temp_next(&mut temp, usize::MAX).await.expect("works") {
                    TempEvent::Idle => break,
                    TempEvent::Text(delta) => {
                        tokens += delta.tokens.len();
                        finish = delta.finish;
                    }
                    TempEvent::Chunk(report) => {
                        chunks += 1;
                        assert_eq!(report.train_losses.len(), 2, "{kv:?} on {backend}: {report:?}");
                        let now = engine.model().tensors.total_bytes();
                        assert_eq!(*bytes.get_or_insert(now), now, "{kv:?} on {backend}");
                    }
                    TempEvent::Progress(..) => {}
                }
            }
            assert_eq!((tokens, finish), (220, Some(Finish::Length)), "{kv:?} on {backend}");
            assert!(chunks >= tokens / 56, "{kv:?} on {backend}: {chunks} chunks of {tokens} tokens");
            engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        }
    }
}

/// What is told of a chunk that is begun is what is done with it.
#[pollster::test]
async fn progress_names_the_work() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    for (evaluate, verb) in [(true, "score"), (false, "train")] {
        let mut temp = engine.begin_temp_lora(options()).await.expect("valid");
        engine.temp_learn(&mut temp, &text[..48], evaluate).expect("valid");
        let event = engine.temp_next(&mut temp, 1).await.expect("works");
        assert!(matches!(event, TempEvent::Progress(first, 0, _) if first == verb), "{event:?}");
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
}

/// A cancelled chunk leaves the adapter as the last whole step left it, and work can go on.
#[pollster::test]
async fn work_can_be_cancelled_at_any_slice() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    for slices in [0, 1, 4, 30, 90, 150] {
        let mut temp = engine.begin_temp_lora(options()).await.expect("valid");
        engine.temp_learn(&mut temp, &text[..96], true).expect("valid");
        for _ in 0..slices {
            engine.temp_next(&mut temp, 1).await.expect("works");
        }
        engine.temp_cancel(&mut temp);
        assert!(temp.is_idle());
        engine.temp_learn(&mut temp, &text[96..144], true).expect("valid");
        let (chunks, _) = finish(&mut engine, &mut temp).await;
        assert_eq!(chunks.len(), 1, "after {slices} slices");
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
}

/// A lesson that did harm is undone: at a rate that wrecks the adapter, every chunk after one that
/// was rolled back begins from before it.
#[pollster::test]
async fn harm_is_rolled_back() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    let wild = |roll_back| TempLoraOptions { roll_back, learning_rate: 0.05, ..options() };
    let [with, without] = [wild(true), wild(false)];
    let with = evaluate(&mut engine, with, &text[..48 * 8]).await;
    let without = evaluate(&mut engine, without, &text[..48 * 8]).await;
    assert!(with.iter().any(|chunk| chunk.rolled_back), "{with:?}");
    assert!(without.iter().all(|chunk| !chunk.rolled_back));
    assert!(mean(&with, |c| c.adapted_loss) < mean(&without, |c| c.adapted_loss));

    // What follows is learned as by an adapter that had never had the lesson, moments and steps included.
    let first = (1..).find(|&at| with[at].rolled_back).expect("one was");
    assert_eq!(first, 1, "{with:?}");
    let TempLoraOptions { variant, rank, alpha, target_modules, seed, .. } = options();
    engine
        .new_lora("fresh", &NewLora { variant, rank, alpha, target_modules, seed })
        .await
        .expect("a good name");
    engine
        .begin_training("fresh", Optimizer::default(), TrainingRoom { window: 128, memory_limit: None })
        .await
        .expect("room");
    let choice = vec![("fresh".to_owned(), 1.0)];
    for &loss in &with[1].train_losses {
        let window = Window { constant_context: true, ..Window::new(text[16..96].to_vec(), 32) };
        let alone = engine.train_step(vec![window], &choice, 0.05).await.expect("works");
        assert!((loss - alone).abs() < 1e-4 * alone, "{loss} and {alone}");
    }
    engine.end_training().await.expect("it was trained");

    // Text that is only learned is scored for it too; a probe judges what it tries itself.
    let mut temp = engine.begin_temp_lora(wild(true)).await.expect("valid");
    engine.temp_learn(&mut temp, &text[..96], false).expect("valid");
    assert!(finish(&mut engine, &mut temp).await.0[1].rolled_back);
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    let both =
        evaluate(&mut engine, TempLoraOptions { probe_rate: true, ..wild(true) }, &text[..48 * 6]).await;
    assert!(!both[3].probed.is_empty() && both[..4].iter().all(|chunk| !chunk.rolled_back), "{both:?}");
}

/// A probe goes on at the rate that has predicted best what followed its lessons, as a run at that rate
/// does; nothing of it depends on what comes later, and no score has seen the choice.
#[pollster::test]
async fn a_probe_chooses_the_learning_rate_by_the_chunks_that_follow() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = &story(&engine)[..48 * 6];
    let probing = TempLoraOptions { probe_rate: true, ..options() };
    let chunks = evaluate(&mut engine, probing.clone(), text).await;
    let probed = &chunks[3].probed;
    let rates: Vec<f32> = probed.iter().map(|(rate, _)| *rate).collect();
    assert_eq!(rates, [0.0625e-3, 0.25e-3, 1e-3, 4e-3]);
    assert!(chunks.iter().all(|chunk| chunk.index == 3 || chunk.probed.is_empty()));
    let (best, _) = *probed.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("four");
    let mut worst = (0.0, f64::NEG_INFINITY);
    for &(learning_rate, loss) in probed {
        let alone = evaluate(&mut engine, TempLoraOptions { learning_rate, ..options() }, text).await;
        let followed = mean(&alone[1..4], |chunk| chunk.adapted_loss);
        // Not to the bit: what is cached when a context is read differs.
        assert!((followed - loss).abs() < 1e-5, "{learning_rate}: {followed}, {loss}");
        let same = |of: std::ops::Range<usize>| {
            let losses = |chunks: &[ChunkReport]| -> Vec<f32> {
                chunks[of.clone()].iter().map(|chunk| chunk.adapted_loss.expect("scored") as f32).collect()
            };
            assert_close("alone", &losses(&chunks), &losses(&alone), Tolerance { abs: 1e-5, rel: 0.0 });
        };
        if learning_rate == best {
            same(4..6); // it goes on as if alone
        }
        if learning_rate == options().learning_rate {
            same(0..3); // until it has chosen, the option's own rate acts
        }
        let whole = mean(&alone, |chunk| chunk.adapted_loss);
        if whole > worst.1 {
            worst = (learning_rate, whole);
        }
    }
    assert!(best != worst.0 && mean(&chunks, |chunk| chunk.adapted_loss) < worst.1, "{best}, {worst:?}");
    assert_eq!(evaluate(&mut engine, probing.clone(), text).await, chunks, "the same again");
    let mut other = text.to_vec();
    other[48 * 4..].iter_mut().for_each(|token| *token = (*token + 7) % 300);
    assert_eq!(evaluate(&mut engine, probing, &other).await[..4], chunks[..4]);
}

/// Cancelled anywhere, a probe begins anew, or waits for the next chunk, with the adapter it would have.
#[pollster::test]
async fn a_probe_that_is_cancelled_begins_anew() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    for events in [1, 8, 60, 130, 220, 300] {
        let mut temp = engine
            .begin_temp_lora(TempLoraOptions { probe_rate: true, chunk_tokens: 16, ..options() })
            .await
            .expect("valid");
        engine.temp_learn(&mut temp, &text[..32], false).expect("valid");
        for _ in 0..events {
            engine.temp_next(&mut temp, 1).await.expect("works");
        }
        engine.temp_cancel(&mut temp);
        engine.temp_learn(&mut temp, &text[32..32 + 16 * 4], false).expect("valid");
        let (chunks, _) = finish(&mut engine, &mut temp).await;
        let probes = chunks.iter().filter(|chunk| !chunk.probed.is_empty()).count();
        assert_eq!((chunks.len(), probes), (4, 1), "after {events} events: {chunks:?}");
        assert_eq!(chunks[3].learning_rate, temp.options().learning_rate, "after {events} events");
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
}

/// Draws on from a text that was learned, with or without the mix.
async fn draw(
    engine: &mut Engine,
    text: &[u32],
    request: &Request,
    mix: bool,
    evaluate: bool,
) -> (Vec<ChunkReport>, Vec<u32>) {
    let options = TempLoraOptions { learning_rate: 4e-3, max_repetition: 1.0, ..options() };
    let mut temp = engine.begin_temp_lora(options).await.expect("valid");
    engine.temp_learn(&mut temp, text, evaluate).expect("valid");
    finish(engine, &mut temp).await;
    engine.temp_generate(&mut temp, request.clone(), mix).expect("valid");
    let drawn = finish(engine, &mut temp).await;
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    drawn
}

/// The mix draws what the heavier model alone draws, and over the text it has drawn its loss is at most ln 6
/// above that of the better of the two.
#[pollster::test]
async fn a_text_is_drawn_from_the_never_worse_mix() {
    for (backend, opened) in backends().await.into_iter().skip(1) {
        let mut engine = open(
            opened,
            &EngineOptions { context_length: Some(128), batch: Some(4), ..EngineOptions::default() },
        );
        let text = story(&engine);
        // A software GPU is slow.
        let n = if backend == "gpu" { 48 } else { 150 };
        let greedy = Request::greedy(Vec::new(), n);
        let sampled =
            Request { temperature: 0.9, top_p: 0.95, repetition_penalty: 1.1, seed: 7, ..greedy.clone() };
        // Nothing learned: both models are the base.
        for request in [&greedy, &sampled] {
            let prompt = Request { prompt: text[..20].to_vec(), ..request.clone() };
            let plain =
                draw(&mut engine, &[], &Request { max_tokens: Some(40), ..prompt.clone() }, false, false)
                    .await;
            let mixed =
                draw(&mut engine, &[], &Request { max_tokens: Some(40), ..prompt }, true, false).await;
            assert_eq!(mixed.1, plain.1, "{backend}");
            let ChunkReport { base_loss, adapted_loss, mixed_loss, .. } = mixed.0[0];
            // Not to the bit: a prompt of many rows is multiplied in another order than one of few.
            let [base, adapted, mixed] =
                [base_loss, adapted_loss, mixed_loss].map(|loss| loss.expect("mixed"));
            assert!((base - adapted).abs() < 1e-5 && (base - mixed).abs() < 1e-5, "{backend}");
        }
        // The adapted model was better by many nats when the text was scored: it weighs all.
        let learned = &text[..48 * 3];
        let adapted = draw(&mut engine, learned, &greedy, false, true).await;
        assert_eq!(
            draw(&mut engine, learned, &greedy, true, true).await.1[..40],
            adapted.1[..40],
            "{backend}"
        );
        // It begins with equal weights where nothing was scored.
        let (chunks, tokens) = draw(&mut engine, learned, &sampled, true, false).await;
        assert!(tokens.len() >= 20, "{backend}: {} tokens", tokens.len());
        let total = |loss: fn(&ChunkReport) -> Option<f64>| -> f64 {
            chunks.iter().map(|chunk| loss(chunk).expect("mixed") * chunk.tokens as f64).sum()
        };
        let [base, adapted, mixed] =
            [total(|c| c.base_loss), total(|c| c.adapted_loss), total(|c| c.mixed_loss)];
        assert!((base - adapted).abs() > 1.0, "{backend}: two models, {base} and {adapted} nats");
        let regret = mixed - base.min(adapted);
        assert!(regret <= 6f64.ln() + 1e-9, "{backend}: {regret} nats");
        // Two that differ are better together, but not without measure.
        assert!(mixed > 0.5 * base.min(adapted), "{backend}: {mixed} nats");
    }
}

/// A text drawn from the mix ends where the model ends it, as any other does.
#[pollster::test]
async fn a_mix_ends_with_the_models_end_token() {
    let files = &common::models::MODELS[0];
    let request = Request::greedy(vec![3, 1, 4, 1, 5], 12);
    for (name, backend) in backends().await.into_iter().skip(1) {
        let options = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
        let mut engine = files.open(backend, &options).expect("valid");
        let (_, whole) = draw(&mut engine, &[], &request, true, false).await;
        let mut config: Value = serde_json::from_slice(files.config).expect("JSON");
        config["eos_token_id"] = whole[5].into();
        let (_, backend) = backends().await.into_iter().find(|(other, _)| *other == name).expect("as before");
        let mut engine = files.open_as(config.to_string().as_bytes(), backend, &options).expect("valid");
        let (_, ended) = draw(&mut engine, &[], &request, true, false).await;
        let end = whole.iter().position(|token| *token == whole[5]).expect("it is there");
        assert_eq!(ended, whole[..end], "{name}");
    }
}

/// The mix needs two slots, and says so.
#[pollster::test]
async fn a_mix_without_room_is_refused() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(
        backend,
        &EngineOptions { context_length: Some(128), batch: Some(1), ..EngineOptions::default() },
    );
    let prompt = story(&engine)[..8].to_vec();
    let mut temp = engine.begin_temp_lora(options()).await.expect("valid");
    let request = Request::greedy(prompt, 4);
    let error = engine.temp_generate(&mut temp, request.clone(), true).expect_err("one slot");
    let words = "keys and values that are kept, and a mix, take 2 slots in all, expected an engine of `batch` 2 or more";
    assert_eq!(error.to_string(), words);
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    let mut stale =
        engine.begin_temp_lora(TempLoraOptions { kv: Kv::Stale, ..options() }).await.expect("valid");
    let error = engine.temp_generate(&mut stale, request, false).expect_err("one slot");
    assert_eq!(error.to_string(), words);
}

#[pollster::test]
async fn what_cannot_be_is_refused_by_name() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(
        backend,
        &EngineOptions { context_length: Some(128), batch: Some(1), ..EngineOptions::default() },
    );
    let good = options();
    let mut refused = async |options: TempLoraOptions| {
        engine.begin_temp_lora(options).await.expect_err("refused").to_string()
    };
    assert_eq!(
        refused(TempLoraOptions { chunk_tokens: 100, context_tokens: 40, ..good.clone() }).await,
        "chunkTokens 100 and contextTokens 40 exceed the context of 128"
    );
    assert_eq!(
        refused(TempLoraOptions { chunk_tokens: 1, ..good.clone() }).await,
        "chunkTokens 1, expected at least 2"
    );
    assert_eq!(
        refused(TempLoraOptions { context_tokens: 0, ..good.clone() }).await,
        "contextTokens 0, expected at least 1"
    );
    assert_eq!(
        refused(TempLoraOptions { dropout: 1.0, ..good.clone() }).await,
        "dropout 1, expected 0 to below 1"
    );
    assert_eq!(
        refused(TempLoraOptions { kv: Kv::ResetEvery(0), ..good.clone() }).await,
        "kv.resetEvery 0, expected at least 1"
    );
    assert_eq!(
        refused(TempLoraOptions { warm_start: Some("none".to_owned()), ..good.clone() }).await,
        "adapter `none` is not loaded; loaded are none"
    );
    assert_eq!(
        refused(TempLoraOptions {
            variant: Variant::LoraXs,
            warm_start: Some("x".to_owned()),
            ..good.clone()
        })
        .await,
        "variant lora-xs and warmStart `x`: an adapter to begin from is trained as it is, leave out one of them"
    );
    let mut temp = engine.begin_temp_lora(good.clone()).await.expect("valid");
    let again = engine
        .begin_temp_lora(TempLoraOptions { name: "other".to_owned(), ..good })
        .await
        .expect_err("one at a time");
    assert_eq!(
        again.to_string(),
        "adapter `temp` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
    );
    let error = engine
        .temp_generate(&mut temp, Request::greedy(Vec::new(), 3), false)
        .expect_err("nothing to begin with");
    assert_eq!(error.to_string(), "prompt: no tokens");
    let error = engine.end_temp_lora(&mut temp, Some("")).await.expect_err("no name");
    assert_eq!(error.to_string(), "adapter ``: the name is empty or taken");
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
}

/// What a chunk's end cuts in two, a stop string here, is whole in the text.
#[pollster::test]
async fn a_stop_string_ends_the_text_across_chunks() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(128), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("Once upon a time").expect("text");
    for kv in [Kv::Recompute, Kv::Stale, Kv::ResetEvery(1)] {
        let options = TempLoraOptions { kv, chunk_tokens: 12, max_repetition: 1.0, ..options() };
        let mut temp = engine.begin_temp_lora(options.clone()).await.expect("valid");
        let request = Request::greedy(prompt.clone(), 40);
        engine.temp_generate(&mut temp, request.clone(), false).expect("valid");
        let (_, tokens) = finish(&mut engine, &mut temp).await;
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        assert_eq!(tokens.len(), 40, "{kv:?}");
        // The last letters of the second chunk and the first of the third.
        let text = |range: std::ops::Range<usize>| {
            engine.tokenizer().decode(&[&prompt[..], &tokens[range]].concat(), true).expect("text")
        };
        let (cut, all) = (text(0..24), text(0..40));
        let stop = all[cut.len() - 6..cut.len() + 4].to_owned();
        assert!(!all[..cut.len()].contains(&stop), "{kv:?}: {stop:?} is in the text before");
        let mut temp = engine.begin_temp_lora(options).await.expect("valid");
        engine.temp_generate(&mut temp, Request { stop: vec![stop], ..request }, false).expect("valid");
        let mut shown = String::new();
        loop {
            match engine.temp_next(&mut temp, usize::MAX).await.expect("works") {
                TempEvent::Idle => break,
                TempEvent::Text(delta) => shown += &delta.text,
                _ => {}
            }
        }
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        let begin = engine.tokenizer().decode(&prompt, true).expect("text");
        assert_eq!(begin + &shown, all[..cut.len() - 6], "{kv:?}");
    }
}

/// A chunk that only repeats is reported, scored where that is asked for, and not learned.
#[pollster::test]
async fn a_chunk_that_repeats_is_not_learned() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("The king").expect("text");
    // Nothing at all may repeat: a greedy small model repeats itself soon.
    let gated = TempLoraOptions { max_repetition: 0.0, score_generated: true, ..options() };
    let mut temp = engine.begin_temp_lora(gated).await.expect("valid");
    engine.temp_generate(&mut temp, Request::greedy(prompt, 300), false).expect("valid");
    let (chunks, tokens) = finish(&mut engine, &mut temp).await;
    assert_eq!(
        chunks.iter().map(|chunk| chunk.tokens).sum::<usize>(),
        tokens.len(),
        "every token has its chunk"
    );
    assert!(chunks.iter().any(|chunk| chunk.train_losses.is_empty()), "{chunks:?}");
    assert!(chunks.iter().all(|chunk| chunk.adapted_loss.is_some()), "{chunks:?}");
    assert!(chunks.windows(2).all(|pair| pair[1].index == pair[0].index + 1));
}

/// Generated text teaches as much as is asked, given text always fully.
#[pollster::test]
async fn generated_text_teaches_at_its_own_weight() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let text = story(&engine);
    for generated_weight in [0.0, 0.25] {
        let weighed = TempLoraOptions { generated_weight, max_repetition: 1.0, ..options() };
        let rate = weighed.learning_rate;
        let mut temp = engine.begin_temp_lora(weighed).await.expect("valid");
        engine.temp_learn(&mut temp, &text[..64], false).expect("valid");
        let (given, _) = finish(&mut engine, &mut temp).await;
        assert!(given.iter().all(|chunk| chunk.learning_rate == rate), "{given:?}");
        engine.temp_generate(&mut temp, Request::greedy(Vec::new(), 64), false).expect("valid");
        let (drawn, _) = finish(&mut engine, &mut temp).await;
        for chunk in &drawn {
            assert_eq!(chunk.train_losses.is_empty(), generated_weight == 0.0, "{chunk:?}");
            assert_eq!(chunk.learning_rate, rate * generated_weight, "{chunk:?}");
        }
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
}

/// What was given is predicted better after much generated text where it is learned again on the way, and the steps on it
/// are none of the generated chunks' own.
#[pollster::test]
async fn given_text_that_is_replayed_is_not_forgotten() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let text = story(&engine)[..96].to_vec();
    let mut losses = Vec::new();
    for (replay, overlap) in [(0, false), (2, false), (2, true)] {
        let replayed = TempLoraOptions { replay, overlap, epochs: 3, max_repetition: 1.0, ..options() };
        let mut temp = engine.begin_temp_lora(replayed).await.expect("valid");
        engine.temp_learn(&mut temp, &text, false).expect("valid");
        finish(&mut engine, &mut temp).await;
        engine.temp_generate(&mut temp, Request::greedy(Vec::new(), 160), false).expect("valid");
        let (drawn, _) = finish(&mut engine, &mut temp).await;
        assert!(drawn.iter().all(|chunk| chunk.train_losses.len() == 3 - replay), "{drawn:?}");
        engine.temp_learn(&mut temp, &text, true).expect("valid");
        let (again, _) = finish(&mut engine, &mut temp).await;
        losses.push(again[0].adapted_loss.expect("scored"));
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
    assert!(losses[1] < losses[0] - 0.05 && losses[2] < losses[0] - 0.05, "{losses:?}");
}

/// Text that is drawn while the chunk before is learned: every chunk is learned in its turn, no token waits for more than
/// its share of a lesson, and the adapter's work shows in the text.
#[pollster::test]
async fn a_chunk_is_learned_while_the_next_is_drawn() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(128), batch: Some(3), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("The king").expect("text");
    for (kv, mix) in
        [(Kv::Recompute, false), (Kv::Stale, false), (Kv::ResetEvery(2), false), (Kv::Stale, true)]
    {
        let overlap = TempLoraOptions { overlap: true, kv, max_repetition: 1.0, ..options() };
        let (chunk_tokens, epochs) = (overlap.chunk_tokens, overlap.epochs);
        let mut temp = engine.begin_temp_lora(overlap).await.expect("valid");
        let n = 5 * chunk_tokens + 3;
        engine.temp_generate(&mut temp, Request::greedy(prompt.clone(), n), mix).expect("valid");
        let (mut chunks, mut tokens) = (Vec::new(), Vec::new());
        // Work of the lesson since the last token, as a share of all of it.
        let (mut worked, mut longest, mut before) = (0.0, 0.0f64, 0);
        loop {
            match engine.temp_next(&mut temp, 1).await.expect("works") {
                TempEvent::Idle => break,
                TempEvent::Text(delta) => {
                    tokens.extend(delta.tokens);
                    // What comes after the last token holds no text up.
                    if tokens.len() < n {
                        longest = longest.max(worked);
                    }
                    worked = 0.0;
                }
                TempEvent::Progress("train", done, all) => {
                    worked += done.saturating_sub(before) as f64 / all as f64;
                    before = done % all;
                }
                TempEvent::Progress(..) => {}
                TempEvent::Chunk(report) => chunks.push(report),
            }
        }
        assert_eq!(tokens.len(), n, "{kv:?}");
        let sizes: Vec<_> = chunks.iter().map(|chunk| (chunk.index, chunk.tokens)).collect();
        let all: usize = chunks.iter().map(|chunk| chunk.tokens).sum();
        assert_eq!(all, n, "{kv:?}: {sizes:?}");
        assert!(sizes.iter().enumerate().all(|(i, (index, _))| i == *index), "{kv:?}: {sizes:?}");
        assert!(chunks.iter().all(|chunk| chunk.train_losses.len() == epochs), "{kv:?}: {chunks:?}");
        assert!(chunks.iter().all(|chunk| chunk.mixed_loss.is_some() == mix), "{kv:?}: {chunks:?}");
        // A token waits for its share of the lesson, and the slice in which that ends.
        let share = epochs as f64 / chunk_tokens as f64;
        assert!(
            longest > 0.0 && longest < share + 0.15,
            "{kv:?}: {longest} of a step, {share} is a token's share"
        );
        // Cancelled in a lesson, it goes on with the text as it stands.
        let request = Request::greedy(Vec::new(), n);
        engine.temp_generate(&mut temp, request.clone(), mix).expect("valid");
        while !matches!(
            engine.temp_next(&mut temp, 1).await.expect("works"),
            TempEvent::Progress("train", ..)
        ) {}
        engine.temp_cancel(&mut temp);
        assert!(temp.is_idle());
        engine.temp_generate(&mut temp, Request { max_tokens: Some(9), ..request }, mix).expect("valid");
        assert_eq!(finish(&mut engine, &mut temp).await.1.len(), 9, "{kv:?}");
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
    for waits in [
        TempLoraOptions { roll_back: true, ..options() },
        TempLoraOptions { score_generated: true, ..options() },
        TempLoraOptions { probe_rate: true, ..options() },
    ] {
        let refused = engine.begin_temp_lora(TempLoraOptions { overlap: true, ..waits }).await;
        assert!(refused.expect_err("they wait").to_string().contains("overlap"));
    }
}

/// Text is scored by the adapter at its weight, and learned at 1.
#[pollster::test]
async fn a_text_is_scored_by_the_adapter_at_its_weight() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let text = story(&engine);
    let (context, chunk) = (options().context_tokens, options().chunk_tokens);
    let mut trained = Vec::new();
    for weight in [1.0f32, 0.5] {
        let weighed = TempLoraOptions { weight, ..options() };
        let chunks = evaluate(&mut engine, weighed.clone(), &text[..2 * chunk]).await;
        trained.push(chunks[0].train_losses.clone());
        // What the first chunk taught, kept, and given the second.
        let mut temp = engine.begin_temp_lora(weighed).await.expect("valid");
        engine.temp_learn(&mut temp, &text[..chunk], false).expect("valid");
        finish(&mut engine, &mut temp).await;
        engine.end_temp_lora(&mut temp, Some("kept")).await.expect("a name");
        let choice = vec![("kept".to_owned(), weight)];
        engine.set_adapter(choice).expect("it is loaded");
        let losses = engine.losses(&text[chunk - context..2 * chunk], context).await.expect("fits");
        engine.set_adapter(Choice::new()).expect("the base");
        let want = losses.iter().sum::<f64>() / losses.len() as f64;
        let got = chunks[1].adapted_loss.expect("scored");
        assert!((got - want).abs() < 1e-5, "at {weight}: {got}, expected {want}");
        engine.delete_adapter("kept").expect("unused");
    }
    assert_eq!(trained[0], trained[1]);
    for weight in [0.0, 1.5, f32::NAN] {
        let refused = engine.begin_temp_lora(TempLoraOptions { weight, ..options() }).await;
        assert!(refused.expect_err("out of range").to_string().contains("weight"), "{weight}");
    }
}
