//! Saved sessions: what a cache holds of a text as a file, restored into another engine, where it goes on as if it
//! had never stopped; and each file that is refused, with all as it was.

use crate::common::models::{LLAMA, MODELS, ModelFiles};
use crate::common::{backends, noise};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{Adapter, Choice, Engine, EngineOptions, ModuleDelta, Request, Restoring, folder};
use lorakeet::{Error, ErrorKind, Result};

/// Fewer than the context, so that positions beyond it show.
const PROMPT: [u32; 19] = [5, 90, 17, 203, 41, 8, 8, 120, 299, 66, 1, 31, 7, 250, 33, 33, 102, 9, 71];
/// Tokens written before a session is saved, and after.
const BEFORE: usize = 11;
const AFTER: usize = 14;

/// The backends that people use.
async fn judged() -> Vec<(&'static str, Backend)> {
    backends().await.into_iter().filter(|(name, _)| *name != "twin").collect()
}

fn fast() -> Backend {
    Backend::Cpu(Cpu::new(Kernels::Fast))
}

fn options(batch: usize) -> EngineOptions {
    EngineOptions { batch: Some(batch), ..EngineOptions::default() }
}

fn model(name: &str) -> &'static ModelFiles {
    MODELS.iter().find(|files| files.name == name).expect("a fixture")
}

fn open(files: &ModelFiles, backend: Backend) -> Engine {
    files.open(backend, &options(2)).expect("it loads")
}

/// Greedy tokens after a prompt, with how many of the prompt were not computed, and the file of the text.
async fn write(engine: &mut Engine, request: Request) -> Result<(Vec<u32>, usize, Vec<u8>)> {
    let mut generation = engine.start(&[request])?;
    let mut tokens = Vec::new();
    while !generation.is_finished() {
        let deltas = engine.next(&mut generation).await?;
        tokens.extend(deltas.into_iter().flat_map(|delta| delta.tokens));
    }
    let mut file = engine.session_head(&generation).await?;
    for i in 0..Restoring::parts(&file)?.len() {
        file.extend(engine.session_part(&generation, i).await?);
    }
    let cached = generation.usage(0).cached_tokens;
    engine.end(generation);
    Ok((tokens, cached, file))
}

async fn restore(engine: &mut Engine, file: &[u8], choice: Option<&Choice>) -> Result<Vec<u32>> {
    let head_bytes = Restoring::head_bytes(file)? as usize;
    let head = file.get(..head_bytes).ok_or_else(|| Error::format("session: cut"))?;
    let parts = Restoring::parts(head)?;
    let part = |i: usize| &file[parts[i].start as usize..parts[i].end as usize];
    let mut restoring = engine.open_session(head, file.len() as u64, choice).await?;
    for i in 0..parts.len() {
        restoring.check(i, part(i))?;
    }
    for i in 0..parts.len() {
        engine.restore_part(&mut restoring, i, part(i))?;
    }
    engine.end_restoring(restoring)
}

/// Saves in one engine and goes on in another; both are to write what the first does without a stop, and to compute
/// no token again.
async fn check(name: &str, save: &mut Engine, other: &mut Engine, adapter: Option<Choice>) {
    let request =
        |prompt: &[u32], most| Request { adapter: adapter.clone(), ..Request::greedy(prompt.to_vec(), most) };
    let (first, _, file) = write(save, request(&PROMPT, BEFORE)).await.expect("it writes");
    assert_eq!(first.len(), BEFORE, "{name}: nothing ended it");
    let text = [&PROMPT[..], &first].concat();
    let (want, _, _) = write(save, request(&text, AFTER)).await.expect("it goes on");
    let tokens = restore(other, &file, adapter.as_ref()).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    // The token drawn last was not computed.
    assert_eq!(tokens, text[..text.len() - 1], "{name}");
    let (got, cached, again) = write(other, request(&text, AFTER)).await.expect("it goes on");
    assert_eq!(cached, text.len() - 1, "{name}: computed again");
    assert_eq!(got, want, "{name}");
    // What a restored text becomes can be saved as any other.
    let tokens = restore(save, &again, adapter.as_ref()).await.expect("of the same model");
    assert_eq!(tokens.len(), text.len() + AFTER - 1, "{name}");
}

#[pollster::test]
async fn a_text_goes_on_where_it_was_saved() {
    // With windows, scaled positions, none, learned ones, and layers of both kinds.
    for name in ["llama", "mistral", "qwen2-window", "gemma3", "smollm3", "gpt2", "phi3"] {
        check(name, &mut open(model(name), fast()), &mut open(model(name), fast()), None).await;
    }
}

/// With layers of both kinds: windowed and not.
#[pollster::test]
async fn a_file_of_one_backend_is_one_of_another() {
    for (one, _) in judged().await {
        for (other, _) in judged().await {
            let backend =
                async |name| judged().await.into_iter().find(|(own, _)| *own == name).expect("there").1;
            let mut save = open(model("gemma3"), backend(one).await);
            let mut restore = open(model("gemma3"), backend(other).await);
            check(&format!("from {one} to {other}"), &mut save, &mut restore, None).await;
        }
    }
}

fn demo(backend: Backend, kv_dtype: Dtype, context: usize) -> Engine {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/demo");
    let options = EngineOptions {
        context_length: Some(context),
        batch: Some(2),
        kv_dtype: Some(kv_dtype),
        ..EngineOptions::default()
    };
    folder::open(&path, backend, &options, |_, _| {}).expect("the demo loads")
}

#[pollster::test]
async fn every_type_of_keys_and_values_comes_back() {
    for kv_dtype in [Dtype::F32, Dtype::F16, Dtype::Q8] {
        for ((what, one), (_, other)) in judged().await.into_iter().zip(judged().await) {
            // Another context is another layout of the cache.
            let (mut one, mut other) = (demo(one, kv_dtype, 128), demo(other, kv_dtype, 96));
            check(&format!("{kv_dtype:?} on {what}"), &mut one, &mut other, None).await;
        }
    }
}

/// On maps before and behind the cache.
fn adapter(seed: u32) -> Adapter {
    let delta = |(i, map, f, c): (u32, &str, usize, usize)| ModuleDelta {
        module: format!("model.layers.1.{map}"),
        rank: 3,
        a: noise(seed + i, 3 * c, 0.4).into(),
        b: noise(seed + 7 + i, f * 3, 0.4).into(),
        ..ModuleDelta::default()
    };
    let deltas = [(0, "self_attn.k_proj", 16, 42), (1, "mlp.up_proj", 46, 42)].map(delta);
    Adapter { deltas: deltas.into(), ..Adapter::default() }
}

fn of(mix: &[(&str, f32)]) -> Choice {
    mix.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

fn with_adapters(backend: Backend, named: &[(&str, u32)]) -> Engine {
    let mut engine = open(&LLAMA, backend);
    for (name, seed) in named {
        engine.add_adapter(name, adapter(*seed)).expect("it fits");
    }
    engine
}

#[pollster::test]
async fn a_mix_of_adapters_comes_back_whatever_else_is_loaded() {
    for ((what, one), (_, other)) in judged().await.into_iter().zip(judged().await) {
        let mut one = with_adapters(one, &[("a", 20), ("b", 40)]);
        let mut other = with_adapters(other, &[("c", 60), ("a", 20), ("b", 40)]);
        check(&format!("a mix on {what}"), &mut one, &mut other, Some(of(&[("a", 0.5), ("b", -1.5)]))).await;
        one.merge_adapter(&of(&[("a", 1.0)])).await.expect("it merges");
        other.merge_adapter(&of(&[("a", 1.0)])).await.expect("it merges");
        check(&format!("merged on {what}"), &mut one, &mut other, Some(of(&[("b", 1.0)]))).await;
    }
}

/// What an engine says to a file; and all is as it was: the text it knew is there still.
async fn refusal(engine: &mut Engine, file: &[u8], choice: Option<&Choice>) -> (ErrorKind, String) {
    let known: Vec<u32> = PROMPT.iter().rev().copied().collect();
    let request = || Request::greedy(known.clone(), 1);
    let (want, _, _) = write(engine, request()).await.expect("it writes");
    // In both of its slots: a restored session would take one of them.
    let mut twice = engine.start(&[request(), request()]).expect("two slots");
    while !twice.is_finished() {
        engine.next(&mut twice).await.expect("it writes");
    }
    engine.end(twice);
    let error = restore(engine, file, choice).await.expect_err("refused");
    let mut again = engine.start(&[request(), request()]).expect("two slots");
    assert_eq!(
        [0, 1].map(|i| again.usage(i).cached_tokens),
        [known.len() - 1; 2],
        "{error}: what was there is gone"
    );
    let mut got = Vec::new();
    while !again.is_finished() {
        let deltas = engine.next(&mut again).await.expect("it writes");
        got.extend(deltas.into_iter().filter(|delta| delta.index == 0).flat_map(|delta| delta.tokens));
    }
    engine.end(again);
    assert_eq!(got, want);
    (error.kind(), error.to_string())
}

#[pollster::test]
async fn another_model_mix_or_type_is_refused_by_name() {
    let mut engine = with_adapters(fast(), &[("a", 20), ("b", 40)]);
    let mix = of(&[("a", 0.5)]);
    let request = Request { adapter: Some(mix.clone()), ..Request::greedy(PROMPT.to_vec(), 4) };
    let (_, _, file) = write(&mut engine, request).await.expect("it writes");
    let refused = async |engine: &mut Engine, choice: Option<&Choice>| refusal(engine, &file, choice).await;
    let is = |(kind, message): (ErrorKind, String), want: ErrorKind, says: &str| {
        assert!(kind == want && message.contains(says), "{kind:?}: {message}\nexpected {want:?}: {says}");
    };

    // Another mix than the engine's, or than the caller's.
    let none = "session: adapters none, expected `a` of weight 0.5";
    is(refused(&mut engine, None).await, ErrorKind::Mismatch, none);
    let other = of(&[("a", 0.25)]);
    is(
        refused(&mut engine, Some(&other)).await,
        ErrorKind::Mismatch,
        "`a` of weight 0.25, expected `a` of weight 0.5",
    );
    let both = of(&[("a", 0.5), ("b", 1.0)]);
    is(
        refused(&mut engine, Some(&both)).await,
        ErrorKind::Mismatch,
        "`b` of weight 1, expected `a` of weight 0.5",
    );
    // An adapter that is not there, or of other numbers.
    is(
        refused(&mut open(&LLAMA, fast()), Some(&mix)).await,
        ErrorKind::Argument,
        "adapter `a` is not loaded",
    );
    let mut changed = with_adapters(fast(), &[("a", 21)]);
    is(refused(&mut changed, Some(&mix)).await, ErrorKind::Mismatch, "adapter `a` has other numbers");
    let mut merged = with_adapters(fast(), &[("a", 20), ("b", 40)]);
    merged.merge_adapter(&of(&[("b", 1.0)])).await.expect("it merges");
    is(
        refused(&mut merged, Some(&mix)).await,
        ErrorKind::Mismatch,
        "merged adapters `b` of weight 1, expected none",
    );

    // Another model: of other sizes, of other weights, of another type of weights, of other settings.
    is(
        refused(&mut open(model("mistral"), fast()), None).await,
        ErrorKind::Mismatch,
        "its layers have other sizes",
    );
    let config = String::from_utf8(LLAMA.config.to_vec()).expect("JSON");
    let other = config.replace("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-06");
    assert_ne!(other, config);
    let mut other = LLAMA.open_as(other.as_bytes(), fast(), &options(2)).expect("it loads");
    is(
        refused(&mut other, None).await,
        ErrorKind::Mismatch,
        "of another model, or of this one with another `dtype`",
    );

    // Another type of the cache or of the weights, or no room.
    let mut saved = demo(fast(), Dtype::F32, 128);
    let (_, _, file) = write(&mut saved, Request::greedy(PROMPT.to_vec(), 60)).await.expect("it writes");
    let mut other = demo(fast(), Dtype::Q8, 128);
    is(
        refusal(&mut other, &file, None).await,
        ErrorKind::Mismatch,
        "session: kvDtype f32, this engine's is q8",
    );
    let mut short = demo(fast(), Dtype::F32, 64);
    is(
        refusal(&mut short, &file, None).await,
        ErrorKind::Argument,
        "session: 78 tokens, the context has room for 64",
    );
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/demo");
    let packed = EngineOptions { dtype: Some(Dtype::Q8), ..options(2) };
    let mut packed = folder::open(&path, fast(), &packed, |_, _| {}).expect("the demo loads");
    is(refusal(&mut packed, &file, None).await, ErrorKind::Mismatch, "with another `dtype`");
}

/// A scaling that depends on the context turns positions otherwise in another one.
#[pollster::test]
async fn positions_that_are_rotated_otherwise_are_refused() {
    let config = String::from_utf8(LLAMA.config.to_vec()).expect("JSON");
    let mut json: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    json["rope_parameters"] = serde_json::json!({"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0});
    json["max_position_embeddings"] = 32.into();
    let config = json.to_string();
    let open = |context| {
        let options = EngineOptions { context_length: Some(context), ..options(2) };
        LLAMA.open_as(config.as_bytes(), fast(), &options).expect("it loads")
    };
    let (_, _, file) = write(&mut open(64), Request::greedy(PROMPT.to_vec(), 2)).await.expect("it writes");
    restore(&mut open(64), &file, None).await.expect("the same context");
    let (kind, message) = refusal(&mut open(96), &file, None).await;
    assert!(kind == ErrorKind::Mismatch && message.contains("another `contextLength`"), "{message}");
}

#[pollster::test]
async fn every_damage_is_seen_before_anything_changes() {
    let mut engine = open(&LLAMA, fast());
    let (_, _, file) = write(&mut engine, Request::greedy(PROMPT[..3].to_vec(), 2)).await.expect("it writes");
    restore(&mut engine, &file, None).await.expect("it is whole");
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = restore(&mut engine, &damaged, None).await.expect_err("damaged");
        assert!([ErrorKind::Format, ErrorKind::Mismatch].contains(&error.kind()), "byte {at}: {error}");
    }
    for cut in [0, 7, 15, 16, 40, file.len() / 2, file.len() - 1] {
        let error = restore(&mut engine, &file[..cut], None).await.expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::Format, "{cut} bytes: {error}");
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(restore(&mut engine, &longer, None).await.expect_err("longer").kind(), ErrorKind::Format);
    let mut late = file.clone();
    let last = late.len() - 9;
    late[last] ^= 4;
    let (_, message) = refusal(&mut engine, &late, None).await;
    assert_eq!(message, "session: the values of layer 2 are damaged");
}

/// A restoring that is given up leaves an engine that goes on.
#[pollster::test]
async fn a_restoring_can_be_given_up_at_any_time() {
    let mut engine = open(&LLAMA, fast());
    let (want, _, file) = write(&mut engine, Request::greedy(PROMPT.to_vec(), 4)).await.expect("it writes");
    let head = &file[..Restoring::head_bytes(&file).expect("a head") as usize];
    let parts = Restoring::parts(head).expect("parts");
    let part = |i: usize| &file[parts[i].start as usize..parts[i].end as usize];
    for given in 0..parts.len() {
        let mut restoring = engine.open_session(head, file.len() as u64, None).await.expect("right");
        let early = engine.restore_part(&mut restoring, 0, part(0)).expect_err("not checked");
        assert!(early.to_string().contains("not checked yet"), "{early}");
        (0..parts.len()).for_each(|i| restoring.check(i, part(i)).expect("whole"));
        for i in 0..given {
            engine.restore_part(&mut restoring, i, part(i)).expect("its turn");
        }
        assert!(engine.restore_part(&mut restoring, given + 1, part(given)).is_err());
        assert_eq!(
            engine.end_restoring(restoring).expect_err("parts are missing").kind(),
            ErrorKind::Argument
        );
        let (got, _, _) = write(&mut engine, Request::greedy(PROMPT.to_vec(), 4)).await.expect("it writes");
        assert_eq!(got, want);
    }
}
