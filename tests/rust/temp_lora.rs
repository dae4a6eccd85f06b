//! Temp-LoRA learns a text as a reference in PyTorch and PEFT does, chunk by chunk, sees nothing that it scores, and leaves nothing behind.
//! Not the text that it draws: temp_lora_text.rs has that.

use crate::common::temp_lora::{evaluate, finish, mean, open, options, repository, story};
use crate::common::{Tolerance, assert_close, backends};
use lorakeet::engine::{
    Choice, EngineOptions, Kv, NewLora, Optimizer, Request, TempEvent, TempLoraOptions, TrainingRoom,
    Variant, Window, folder,
};
use serde_json::Value;

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

/// The token that begins a text stays in front of every chunk's context, and only that one.
#[pollster::test]
async fn the_token_that_begins_a_text_stays_in_front() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(backend, &EngineOptions::default());
    let bos = engine.model().config.bos_token_id.expect("the model has one");
    let words = story(&engine)[..80].to_vec();
    for text in [[&[bos], &words[..]].concat(), words] {
        let options = TempLoraOptions { chunk_tokens: 20, context_tokens: 12, ..options() };
        let chunks = evaluate(&mut engine, options, &text).await;
        for (i, chunk) in chunks.iter().enumerate().skip(1) {
            let from = 20 * i;
            let mut window = text[from - 12..text.len().min(from + 20)].to_vec();
            if text[0] == bos {
                window[0] = bos;
            }
            let losses = engine.losses(&window, 12).await.expect("fits");
            let base = chunk.base_loss.expect("scored");
            assert!(
                (base - losses.iter().sum::<f64>() / losses.len() as f64).abs() < 1e-6,
                "chunk {i}: {base}"
            );
        }
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

    // Text that is only learned is scored for it too.
    let mut temp = engine.begin_temp_lora(wild(true)).await.expect("valid");
    engine.temp_learn(&mut temp, &text[..96], false).expect("valid");
    assert!(finish(&mut engine, &mut temp).await.0[1].rolled_back);
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
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
