//! An engine whose device is lost in the middle of whatever it does goes on, on another, as if nothing had
//! been. On the CPU, where none is lost, it moves to other memory. In a browser: tests/web/recover.test.mjs.

use crate::common::backends;
use crate::common::models::{LLAMA, MODELS};
use lorakeet::Error;
use lorakeet::backend::Backend;
use lorakeet::engine::{
    AdapterFiles, ChunkReport, Delta, Engine, EngineOptions, Finish, Kv, NewLora, Optimizer, Overflow,
    Request, Restoring, TempEvent, TempLora, TempLoraOptions, TrainingRoom, Variant, Window,
};
use lorakeet::error::ErrorKind;

const IDS: [u32; 9] = [5, 90, 17, 203, 41, 8, 120, 299, 66];

/// A context short enough for texts to slide.
const OPTIONS: EngineOptions =
    EngineOptions { context_length: Some(32), batch: Some(8), dtype: None, kv_dtype: None };

macro_rules! adapters {
    ($($name:literal),+) => {[$((
        $name,
        include_bytes!(concat!("../fixtures/adapters/llama/", $name, "/adapter_config.json")),
        include_bytes!(concat!("../fixtures/adapters/llama/", $name, "/adapter_model.safetensors")),
    )),+]};
}

/// One of each kind that the bank keeps in a place of its own.
const KINDS: [(&str, &[u8], &[u8]); 7] =
    adapters!("qv", "dora-embed", "ia3", "lora-bias", "tokens-head", "prompt", "prefix");

/// The fast CPU and the GPU, if there is one: the twin has the memory of the first.
async fn opened() -> Vec<(&'static str, Engine)> {
    let all = backends().await.into_iter().skip(1);
    all.map(|(name, backend)| (name, LLAMA.open(backend, &OPTIONS).expect("valid"))).collect()
}

async fn with_adapters(engine: &mut Engine) {
    for (name, config, weights) in KINDS {
        engine.load_adapter(name, config, weights).await.expect("fits");
    }
}

/// Another backend of the kind.
async fn another(name: &str) -> Backend {
    let found = backends().await.into_iter().find(|(other, _)| *other == name);
    found.expect("as before").1
}

/// Loses the device and recovers on another.
async fn move_on(engine: &mut Engine, name: &str) {
    engine.release_device();
    assert_eq!(engine.backend().check().is_err(), name == "gpu");
    let loader = LLAMA.load(LLAMA.config, another(name).await, &OPTIONS).expect("valid");
    engine.recover(loader).await.expect("another device");
}

/// Loses the device, sees that what `work` asks of it fails, and recovers.
macro_rules! lose {
    ($engine:ident, $name:ident, $work:expr) => {
        if $name == "gpu" {
            $engine.release_device();
            let error: Error = $work.await.expect_err("a lost device");
            assert_eq!(error.kind(), ErrorKind::Device, "{error}");
        }
        move_on($engine, $name).await;
    };
}

fn requests() -> [Request; 6] {
    let greedy = Request::greedy(IDS.to_vec(), 20);
    let with = |parts: &[(&str, f32)]| Some(parts.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect());
    [
        greedy.clone(),
        Request { temperature: 1.5, seed: 7, repetition_penalty: 1.3, top_p: 0.9, ..greedy.clone() },
        Request { adapter: with(&[("qv", 0.7), ("ia3", 1.0)]), ..greedy.clone() },
        Request { adapter: with(&[("prefix", 1.0), ("dora-embed", -0.5)]), ..greedy.clone() },
        Request { adapter: with(&[("prompt", 1.0)]), max_tokens: Some(7), ..greedy.clone() },
        Request { max_tokens: Some(60), temperature: 1.0, seed: 1, overflow: Overflow::Slide, ..greedy },
    ]
}

type Text = (Vec<u32>, String, Option<Finish>);

/// The texts of [`requests`], if the device is lost before each of these steps.
async fn texts(engine: &mut Engine, name: &str, lost_before: &[usize]) -> Vec<Text> {
    let mut generation = engine.start(&requests()).expect("valid");
    let mut texts = vec![Text::default(); requests().len()];
    for step in 0.. {
        if generation.is_finished() {
            assert!(lost_before.iter().all(|lost| *lost < step), "done after {step} steps");
            break;
        }
        if lost_before.contains(&step) {
            lose!(engine, name, engine.next(&mut generation));
        }
        for Delta { index, text, tokens, finish, .. } in engine.next(&mut generation).await.expect("works") {
            texts[index].0.extend(tokens);
            texts[index].1 += &text;
            texts[index].2 = finish;
        }
    }
    for (index, (tokens, ..)) in texts.iter().enumerate() {
        assert_eq!(generation.usage(index).completion_tokens, tokens.len());
    }
    engine.end(generation);
    texts
}

/// Greedy and drawn texts, under adapters of every kind, in one batch, past the context.
#[pollster::test]
async fn texts_go_on_where_they_were() {
    for (name, mut engine) in opened().await {
        with_adapters(&mut engine).await;
        let undisturbed = texts(&mut engine, name, &[]).await;
        for (i, (one, ..)) in undisturbed.iter().enumerate() {
            assert!(undisturbed[..i].iter().all(|(other, ..)| other != one), "{i} on {name} is like another");
        }
        for lost in [&[0][..], &[1], &[2, 3], &[4, 5, 8]] {
            assert_eq!(texts(&mut engine, name, lost).await, undisturbed, "{lost:?} on {name}");
        }
        // Nothing is left behind.
        assert_eq!(texts(&mut engine, name, &[]).await, undisturbed, "afterwards on {name}");
    }
}

/// Logits are bit for bit what they were: under each kind of adapter, chosen or merged.
#[pollster::test]
async fn adapters_are_put_back() {
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        with_adapters(engine).await;
        engine.delete_adapter("ia3").expect("idle");
        engine.set_adapter(vec![("tokens-head".to_owned(), 1.0)]).expect("loaded");
        let infos: Vec<_> = engine.list_adapters().cloned().collect();
        let mut before = vec![engine.logits(&IDS).await.expect("fits")];
        for info in &infos {
            let choice = vec![(info.name.clone(), 1.0)];
            before.push(engine.logits_with(&IDS, Some(&choice)).await.expect("fits"));
        }
        let base = engine.logits_with(&IDS, Some(&Vec::new())).await.expect("fits");
        lose!(engine, name, engine.logits(&IDS));
        assert_eq!(infos, engine.list_adapters().cloned().collect::<Vec<_>>());
        assert_eq!(engine.logits(&IDS).await.expect("fits"), before[0], "chosen on {name}");
        for (info, before) in infos.iter().zip(&before[1..]) {
            assert_ne!(before, &base, "{} on {name}", info.name);
            let choice = vec![(info.name.clone(), 1.0)];
            let logits = engine.logits_with(&IDS, Some(&choice)).await.expect("fits");
            assert_eq!(&logits, before, "{} on {name}", info.name);
        }
        engine.merge_adapter(&vec![("qv".to_owned(), 0.5)]).await.expect("a plain LoRA");
        let merged = engine.logits(&IDS).await.expect("fits");
        move_on(engine, name).await;
        assert_eq!(engine.logits(&IDS).await.expect("fits"), merged, "merged on {name}");
        engine.unmerge_adapter().expect("merged");
        assert_eq!(engine.logits_with(&IDS, Some(&Vec::new())).await.expect("fits"), base, "{name}");
    }
}

/// What three steps make of an adapter, if the device is lost before each of these pieces of work.
async fn trained(engine: &mut Engine, name: &str, variant: Variant, lost_before: &[usize]) -> AdapterFiles {
    let lora = NewLora { variant, rank: 4, alpha: 6.0, target_modules: Vec::new(), seed: 3 };
    engine.new_lora("x", &lora).await.expect("fits");
    let optimizer = Optimizer { dropout: 0.1, weight_decay: 0.01, ..Optimizer::default() };
    let room = TrainingRoom { window: 32, memory_limit: None };
    engine.begin_training("x", optimizer, room).await.expect("a plain LoRA");
    let window = |first| Window::new(IDS.repeat(2), first);
    let mut piece = 0;
    for _ in 0..3 {
        let windows = vec![window(4), window(1)];
        let choice = vec![("x".to_owned(), 1.0)];
        let mut step = engine.begin_step(windows, &choice, 1e-2).expect("valid");
        while !step.is_finished() {
            if lost_before.contains(&piece) {
                lose!(engine, name, engine.next_slices(&mut step, 8));
            }
            engine.next_slices(&mut step, 8).await.expect("works");
            piece += 1;
        }
        engine.end_step(step);
    }
    assert!(lost_before.iter().all(|lost| *lost < piece), "done after {piece} pieces");
    let files = engine.export_adapter("x").await.expect("a LoRA");
    engine.end_training().await.expect("it ends");
    engine.delete_adapter("x").expect("idle");
    files
}

/// Weights and moments are those of the last step that ended; a step that had begun is done anew.
#[pollster::test]
async fn training_goes_on() {
    for (name, mut engine) in opened().await {
        for variant in [Variant::Lora, Variant::LoraXs] {
            let undisturbed = trained(&mut engine, name, variant, &[]).await;
            for lost in [&[0][..], &[7], &[9, 10, 21]] {
                let files = trained(&mut engine, name, variant, lost).await;
                assert_eq!(files.weights, undisturbed.weights, "{variant:?}, {lost:?} on {name}");
            }
        }
    }
}

fn temp_options() -> TempLoraOptions {
    TempLoraOptions {
        rank: 4,
        alpha: 4.0,
        learning_rate: 1e-2,
        chunk_tokens: 10,
        context_tokens: 12,
        ..TempLoraOptions::small(32)
    }
}

/// What a temporary adapter reports and writes, if the device is lost before each of these pieces of
/// the work on either.
async fn temporary(
    engine: &mut Engine,
    name: &str,
    options: TempLoraOptions,
    mix: bool,
    lost_before: &[usize],
) -> (Vec<ChunkReport>, Vec<u32>) {
    let mut temp = engine.begin_temp_lora(options).await.expect("valid");
    engine.temp_learn(&mut temp, &IDS.repeat(6), true).expect("known ids");
    let (mut chunks, mut tokens) = work(engine, name, &mut temp, lost_before).await;
    let request =
        Request { temperature: 1.0, seed: 5, prompt: Vec::new(), ..Request::greedy(Vec::new(), 45) };
    engine.temp_generate(&mut temp, request, mix).expect("idle");
    let (more, text) = work(engine, name, &mut temp, lost_before).await;
    chunks.extend(more);
    tokens.extend(text);
    engine.end_temp_lora(&mut temp, None).await.expect("idle");
    (chunks, tokens)
}

async fn work(
    engine: &mut Engine,
    name: &str,
    temp: &mut TempLora,
    lost_before: &[usize],
) -> (Vec<ChunkReport>, Vec<u32>) {
    let (mut chunks, mut tokens) = (Vec::new(), Vec::new());
    for piece in 0.. {
        if lost_before.contains(&piece) {
            engine.release_device();
            if name == "gpu" {
                // Work that is the host's alone is done all the same.
                match engine.temp_next(temp, 20).await {
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Device, "{e}"),
                    Ok(TempEvent::Idle) => break,
                    Ok(TempEvent::Progress(..)) => {}
                    Ok(TempEvent::Text(delta)) => tokens.extend(delta.tokens),
                    Ok(TempEvent::Chunk(report)) => chunks.push(report),
                }
            }
            move_on(engine, name).await;
        }
        match engine.temp_next(temp, 20).await.expect("works") {
            TempEvent::Idle => break,
            TempEvent::Progress(..) => {}
            TempEvent::Text(delta) => tokens.extend(delta.tokens),
            TempEvent::Chunk(report) => chunks.push(report),
        }
    }
    (chunks, tokens)
}

/// Chunk by chunk the same losses, and the same text: plain, mixed with the base.
#[pollster::test]
async fn a_temporary_adapter_goes_on() {
    for (name, mut engine) in opened().await {
        let cases: [(_, _, &[usize]); 2] =
            [(temp_options(), false, &[1, 6, 11]), (temp_options(), true, &[2, 13])];
        for (options, mix, lost) in cases {
            let undisturbed = temporary(&mut engine, name, options.clone(), mix, &[]).await;
            let disturbed = temporary(&mut engine, name, options, mix, lost).await;
            assert_eq!(undisturbed.1.len(), 45);
            assert_eq!(disturbed.1, undisturbed.1, "{lost:?} on {name}");
            let losses = |chunks: &[ChunkReport]| -> Vec<f64> {
                let scores =
                    |c: &ChunkReport| [c.base_loss, c.adapted_loss, c.mixed_loss].into_iter().flatten();
                chunks.iter().flat_map(|c| scores(c).chain(c.train_losses.clone())).collect()
            };
            let (got, want) = (losses(&disturbed.0), losses(&undisturbed.0));
            assert_eq!(got.len(), want.len());
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-3, "{lost:?} on {name}: a loss is off by {worst}");
        }
    }
}

/// Keys and values of older versions cannot be had again: the text goes on under the newest.
#[pollster::test]
async fn kept_keys_and_values_are_computed_anew() {
    for (name, mut engine) in opened().await {
        let options = TempLoraOptions { kv: Kv::Stale, ..temp_options() };
        let (chunks, tokens) = temporary(&mut engine, name, options, false, &[5, 17]).await;
        let learned: usize = chunks.iter().map(|chunk| chunk.tokens).sum();
        assert_eq!((tokens.len(), learned), (45, 6 * IDS.len() + 45), "{name}");
        engine.delete_adapter("temp").expect_err("it is gone");
    }
}

/// A generation that has written its text, and the text's tokens.
macro_rules! written {
    ($engine:ident, $request:expr) => {{
        let mut generation = $engine.start(std::slice::from_ref(&$request)).expect("valid");
        let mut tokens = Vec::new();
        while !generation.is_finished() {
            let deltas = $engine.next(&mut generation).await.expect("works");
            tokens.extend(deltas.into_iter().flat_map(|delta| delta.tokens));
        }
        (generation, tokens)
    }};
}

/// Half of a session is of no use: it says so, and begins again on the new device.
#[pollster::test]
async fn a_session_begins_again() {
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        let request = Request::greedy(IDS.to_vec(), 6);
        let gone = |error: Error| {
            let words = "the device was lost, and what it had computed of the text: begin again";
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Device, words), "{name}");
        };
        let (generation, text) = written!(engine, request);
        engine.session_head(&generation).await.expect("computed");
        engine.session_part(&generation, 0).await.expect("computed");
        lose!(engine, name, engine.session_part(&generation, 1));
        gone(engine.session_part(&generation, 1).await.expect_err("of the lost device"));
        gone(engine.session_head(&generation).await.expect_err("of the lost device"));
        engine.end(generation);

        let (generation, again) = written!(engine, request);
        assert_eq!(again, text, "{name}");
        let head = engine.session_head(&generation).await.expect("computed");
        let spans = Restoring::parts(&head).expect("parts");
        let mut parts = Vec::new();
        for i in 0..spans.len() {
            parts.push(engine.session_part(&generation, i).await.expect("computed"));
        }
        engine.end(generation);
        let bytes = spans.last().expect("some").end;
        let longer = Request::greedy([&IDS[..], &text].concat(), 8);
        let (generation, want) = written!(engine, longer);
        engine.end(generation);

        for is_lost in [true, false] {
            let mut restoring = engine.open_session(&head, bytes, None).await.expect("its own");
            parts.iter().enumerate().for_each(|(i, part)| restoring.check(i, part).expect("whole"));
            for (i, part) in parts.iter().enumerate() {
                if is_lost && i == 1 {
                    move_on(engine, name).await;
                }
                engine.restore_part(&mut restoring, i, part).expect("its turn");
            }
            let restored = engine.end_restoring(restoring);
            if is_lost {
                gone(restored.expect_err("the first part is gone"));
            } else {
                assert_eq!(restored.expect("whole").len(), IDS.len() + text.len() - 1, "{name}");
            }
            let (generation, got) = written!(engine, longer);
            assert_eq!(generation.usage(0).cached_tokens > 0, !is_lost, "{name}");
            engine.end(generation);
            assert_eq!(got, want, "{name}");
        }
    }
}

/// The loss is told where a result is waited for, and nowhere else; what the host does meanwhile stays.
#[pollster::test]
async fn a_lost_device_takes_everything_and_gives_nothing() {
    let Some(("gpu", mut engine)) = opened().await.pop() else { return };
    let name = "gpu";
    let (mut lost, still) = (engine.lost(), engine.lost());
    with_adapters(&mut engine).await;
    let qv = engine.logits_with(&IDS, Some(&vec![("qv".to_owned(), 1.0)])).await.expect("fits");
    engine.delete_adapter("qv").expect("idle");
    let running = engine.start(&requests()[..1]).expect("valid");
    assert_eq!(lost.try_recv(), Ok(None));
    engine.release_device();
    let error = still.await.expect("it is lost");
    assert_eq!(error, engine.logits(&IDS).await.expect_err("lost"));
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Device, "WebGPU device: given up"));
    let [(qv_name, config, weights), (dora, dora_config, dora_weights), ..] = KINDS;
    engine.delete_adapter(dora).expect("idle");
    engine.load_adapter(dora, dora_config, dora_weights).await.expect_err("its norms are the device's");
    engine.load_adapter(qv_name, config, weights).await.expect("it is the host's");
    engine.set_adapter(vec![(qv_name.to_owned(), 1.0)]).expect("loaded");
    engine.merge_adapter(&vec![(qv_name.to_owned(), 1.0)]).await.expect_err("a text is running");
    engine.end(running);
    engine.merge_adapter(&vec![(qv_name.to_owned(), 1.0)]).await.expect_err("lost");
    let lora = |variant, rank| NewLora { variant, rank, alpha: 1.0, target_modules: Vec::new(), seed: 0 };
    engine.new_lora("cores", &lora(Variant::LoraXs, 4)).await.expect_err("its weights are the device's");
    engine.new_lora("other", &lora(Variant::Lora, 70)).await.expect("the bank grows");
    move_on(&mut engine, name).await;
    assert_eq!(engine.logits(&IDS).await.expect("fits"), qv);
    let mut unheard = engine.lost();
    drop(engine);
    assert!(unheard.try_recv().is_err(), "an engine that ends is not lost");
}

#[pollster::test]
async fn another_model_is_refused() {
    for (name, mut engine) in opened().await {
        let before = engine.logits(&IDS).await.expect("fits");
        engine.release_device();
        let qwen = MODELS.iter().find(|files| files.name == "qwen2").expect("a fixture");
        let loader = qwen.load(qwen.config, another(name).await, &OPTIONS).expect("valid");
        let error = engine.recover(loader).await.expect_err("another model");
        assert_eq!(error.to_string(), "the model loaded again is not the one that was lost");
        let files = crate::common::models::ModelFiles { weights: &[], ..LLAMA };
        let loader = files.load(LLAMA.config, another(name).await, &OPTIONS).expect("no weights yet");
        let error = engine.recover(loader).await.expect_err("nothing has come");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        move_on(&mut engine, name).await;
        assert_eq!(engine.logits(&IDS).await.expect("fits"), before, "{name}");
    }
}

const ROOM: TrainingRoom = TrainingRoom { window: 32, memory_limit: None };

fn of(name: &str) -> Vec<(String, f32)> {
    vec![(name.to_owned(), 1.0)]
}

async fn logits(engine: &mut Engine, name: &str) -> Vec<f32> {
    engine.logits_with(&IDS, Some(&of(name))).await.expect("fits")
}

async fn refuses_to_merge(engine: &mut Engine, name: &str) {
    let before = (engine.logits(&IDS).await.expect("fits"), engine.active_adapters().clone());
    for choice in [of(name), [of("qv"), of(name)].concat()] {
        let error = engine.merge_adapter(&choice).await.expect_err("it is being trained");
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert_eq!(
            error.to_string(),
            format!(
                "adapter `{name}` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
            )
        );
    }
    assert!(engine.merged_adapters().is_empty());
    assert_eq!((engine.logits(&IDS).await.expect("fits"), engine.active_adapters().clone()), before);
}

/// An adapter that is being trained is not merged, so that neither a loss of the device nor its end meets
/// it in two places; others are, and all is put back.
#[pollster::test]
async fn what_is_being_trained_is_not_merged() {
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        with_adapters(engine).await;
        engine.set_adapter(of("qv")).expect("loaded");
        // A temporary adapter.
        let mut temp = engine.begin_temp_lora(temp_options()).await.expect("valid");
        engine.temp_learn(&mut temp, &IDS.repeat(2), false).expect("known ids");
        work(engine, name, &mut temp, &[]).await;
        let temporary = temp.options().name.clone();
        refuses_to_merge(engine, &temporary).await;
        engine.merge_adapter(&of("lora-bias")).await.expect_err("its shift has no bias to go to");
        engine.merge_adapter(&of("qv")).await.expect("another");
        let merged = logits(engine, &temporary).await;
        move_on(engine, name).await;
        assert_eq!(logits(engine, &temporary).await, merged, "{name}");
        engine.unmerge_adapter().expect("merged");
        engine.end_temp_lora(&mut temp, Some("kept")).await.expect("kept");
        let kept = logits(engine, "kept").await;
        engine.merge_adapter(&of("kept")).await.expect("an ordinary one now");
        assert_eq!(engine.merged_adapters(), of("kept"));
        let merged = engine.logits(&IDS).await.expect("fits");
        move_on(engine, name).await;
        assert_eq!(engine.logits(&IDS).await.expect("fits"), merged, "{name}");
        let error = engine.begin_training("kept", Optimizer::default(), ROOM).await.expect_err("merged");
        assert_eq!(error.to_string(), "adapter `kept` is merged into the weights, unmerge it first");
        engine.unmerge_adapter().expect("merged");
        assert_eq!(logits(engine, "kept").await, kept, "{name}");
        // One that is trained by steps.
        engine.begin_training("kept", Optimizer::default(), ROOM).await.expect("a plain LoRA");
        refuses_to_merge(engine, "kept").await;
        let error = engine.delete_adapter("kept").expect_err("it is being trained");
        assert_eq!(
            error.to_string(),
            "adapter `kept` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
        );
        move_on(engine, name).await;
        engine.set_adapter(of("kept")).expect("it can be used meanwhile");
        engine.export_adapter("kept").await.expect("and exported");
        engine.end_training().await.expect("it ends");
        engine.merge_adapter(&of("kept")).await.expect("an ordinary one again");
        engine.unmerge_adapter().expect("merged");
        engine.delete_adapter("kept").expect("idle");
    }
}

fn window() -> Window {
    Window::new(IDS.repeat(2), 1)
}

/// Neither the count of steps, nor the adapter, nor what it computes know of a step that failed, before
/// its update or in it; asked for more it fails again.
#[pollster::test]
async fn a_step_that_failed_counts_nowhere() {
    let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 6.0, target_modules: Vec::new(), seed: 3 };
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        for x in ["x", "y"] {
            engine.new_lora(x, &lora).await.expect("fits");
            engine.begin_training(x, Optimizer::default(), ROOM).await.expect("a plain LoRA");
            engine.train_step(vec![window()], &of(x), 1e-2).await.expect("works");
            assert_eq!(engine.steps_taken(), 1);
            if x == "x" {
                let before = (engine.export_adapter(x).await.expect("a LoRA"), logits(engine, x).await);
                // Moments of a gradient's size, steps of f32's: the update makes no numbers.
                let mut step = engine.begin_step(vec![window()], &of(x), f32::MAX).expect("valid");
                for _ in 0..2 {
                    let error = loop {
                        match engine.next_slices(&mut step, 20).await {
                            Ok(()) => assert!(!step.is_finished(), "{name}"),
                            Err(error) => break error,
                        }
                    };
                    assert!(
                        error.to_string().contains("a smaller learning rate may help"),
                        "{name}: {error}"
                    );
                    let (done, all) = step.progress();
                    assert!(!step.is_finished() && done < all, "{name}: {done} of {all}");
                }
                engine.end_step(step);
                assert_eq!(engine.steps_taken(), 1, "{name}");
                let after = (engine.export_adapter(x).await.expect("a LoRA"), logits(engine, x).await);
                assert!(before == after, "{name}: what it was");
                let error = engine.train_step(vec![window()], &of(x), f32::MAX).await;
                assert!(error.is_err() && engine.steps_taken() == 1, "{name}: {error:?}");
            }
            // The next step is as if nothing had been.
            engine.train_step(vec![window()], &of(x), 1e-2).await.expect("works");
            assert_eq!(engine.steps_taken(), 2, "{name}");
            engine.end_training().await.expect("it ends");
        }
        let x = engine.export_adapter("x").await.expect("a LoRA").weights;
        let y = engine.export_adapter("y").await.expect("a LoRA").weights;
        assert!(x == y, "{name}: moments and numbers are those of two good steps");
    }
}

/// What the device has learned and main memory has not read yet survives a bank that grows or shrinks.
#[pollster::test]
async fn a_bank_that_grows_keeps_what_was_learned() {
    let lora =
        |rank| NewLora { variant: Variant::Lora, rank, alpha: 6.0, target_modules: Vec::new(), seed: 3 };
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        let mut learned = Vec::new();
        for grows in [false, true] {
            engine.new_lora("x", &lora(4)).await.expect("fits");
            engine.begin_training("x", Optimizer::default(), ROOM).await.expect("a plain LoRA");
            for step in 0..20 {
                engine.train_step(vec![window()], &of("x"), 1e-2).await.expect("works");
                if grows && step == 3 {
                    engine.new_lora("other", &lora(70)).await.expect("the bank grows");
                }
                if grows && step == 5 {
                    engine.delete_adapter("other").expect("idle");
                }
                if grows && step == 18 {
                    move_on(engine, name).await;
                }
            }
            assert_eq!(engine.steps_taken(), 20, "{name}");
            engine.end_training().await.expect("it ends");
            learned.push(engine.export_adapter("x").await.expect("a LoRA").weights);
            engine.delete_adapter("x").expect("idle");
        }
        assert!(learned[0] == learned[1], "{name}");
    }
}

/// Training that ends without a step leaves every bit as it was: the folder, the logits, and a text under way.
#[pollster::test]
async fn training_without_a_step_leaves_no_trace() {
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        let files = |kind: &str| {
            let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/fixtures/adapters/llama")
                .join(kind);
            ["adapter_config.json", "adapter_model.safetensors"]
                .map(|file| std::fs::read(home.join(file)).expect("there"))
        };
        for kind in ["qv", "rslora", "all-linear"] {
            let [config, weights] = files(kind);
            // A scale that f32 cannot divide out.
            let config = String::from_utf8(config).expect("text");
            let alpha = config.lines().find(|line| line.contains("\"lora_alpha\"")).expect("a field");
            let config = config.replace(alpha, "\"lora_alpha\": 7.3,").into_bytes();
            engine.load_adapter("x", &config, &weights).await.expect("valid");
            let before = (engine.export_adapter("x").await.expect("a folder"), logits(engine, "x").await);
            for loses in [false, true] {
                engine.begin_training("x", Optimizer::default(), ROOM).await.expect("a plain LoRA");
                let request = Request { adapter: Some(of("x")), ..Request::greedy(IDS.to_vec(), 6) };
                let mut generation = engine.start(std::slice::from_ref(&request)).expect("valid");
                engine.next(&mut generation).await.expect("works");
                if loses {
                    move_on(engine, name).await;
                }
                // A step that is dropped is none.
                let step = engine.begin_step(vec![window()], &of("x"), 1.0).expect("valid");
                engine.end_step(step);
                engine.end_training().await.expect("it ends");
                while !generation.is_finished() {
                    engine.next(&mut generation).await.expect("works");
                }
                engine.end(generation);
                let after = (engine.export_adapter("x").await.expect("a folder"), logits(engine, "x").await);
                assert!(before == after, "{kind} on {name}");
            }
            // With a step it is another.
            engine.begin_training("x", Optimizer::default(), ROOM).await.expect("a plain LoRA");
            engine.train_step(vec![window()], &of("x"), 1e-2).await.expect("works");
            engine.end_training().await.expect("it ends");
            assert_ne!(engine.export_adapter("x").await.expect("a LoRA").weights, before.0.weights, "{kind}");
            assert_ne!(logits(engine, "x").await, before.1, "{kind} on {name}");
            engine.delete_adapter("x").expect("idle");
        }
    }
}

/// The scale of an adapter whose training ends while a text is being drawn under it.
#[pollster::test]
async fn a_text_goes_on_when_training_ends_without_a_step() {
    for (name, mut engine) in opened().await {
        let engine = &mut engine;
        with_adapters(engine).await;
        let request = Request { adapter: Some(of("qv")), ..Request::greedy(IDS.to_vec(), 20) };
        let mut texts = Vec::new();
        for trains in [false, true] {
            if trains {
                engine.begin_training("qv", Optimizer::default(), ROOM).await.expect("a plain LoRA");
            }
            let mut generation = engine.start(std::slice::from_ref(&request)).expect("valid");
            let mut tokens = Vec::new();
            while !generation.is_finished() {
                let deltas = engine.next(&mut generation).await.expect("works");
                tokens.extend(deltas.into_iter().flat_map(|delta| delta.tokens));
                engine.end_training().await.expect("it ends");
            }
            engine.end(generation);
            texts.push(tokens);
        }
        assert_eq!(texts[0], texts[1], "{name}");
    }
}
