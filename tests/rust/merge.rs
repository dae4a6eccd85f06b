//! Merging: the same answers as a live blend, the base's bits afterwards, and no stale cache.

use std::path::{Path, PathBuf};

use crate::common::models::{LLAMA, MODELS, ModelFiles};
use crate::common::{Tolerance, assert_close, backends, gpu_with, misfit};
use lorakeet::ErrorKind;
use lorakeet::backend::Backend;
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::engine::{Adapter, Choice, Engine, EngineOptions, ModuleDelta, Request, folder};

const IDS: [u32; 12] = [5, 90, 17, 203, 41, 8, 8, 120, 299, 66, 1, 31];

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters").join(path)
}

fn open(files: &ModelFiles, backend: Backend) -> Engine {
    files.open(backend, &EngineOptions { batch: Some(4), ..EngineOptions::default() }).expect("a valid model")
}

async fn fast() -> Engine {
    open(&LLAMA, backends().await.remove(1).1)
}

async fn load(engine: &mut Engine, model: &str, names: &[&str]) {
    for name in names {
        folder::load_adapter(engine, name, &fixture(&format!("{model}/{name}")))
            .await
            .expect("a valid adapter");
    }
}

fn choice(parts: &[(&str, f32)]) -> Choice {
    parts.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

async fn logits(engine: &mut Engine, parts: &[(&str, f32)]) -> Vec<f32> {
    engine.set_adapter(choice(parts)).expect("loaded");
    engine.logits(&IDS).await.expect("it fits")
}

/// Which tokens follow, and how many of the prompt came from the cache.
async fn text(engine: &mut Engine) -> (Vec<u32>, usize) {
    let mut generation = engine.start(&[Request::greedy(IDS.to_vec(), 8)]).expect("valid");
    let mut tokens = Vec::new();
    while !generation.is_finished() {
        tokens.extend(engine.next(&mut generation).await.expect("works").into_iter().flat_map(|d| d.tokens));
    }
    let cached = generation.usage(0).cached_tokens;
    engine.end(generation);
    (tokens, cached)
}

/// Fused and single projections, gains, biases, turned weights, several adapters on one module.
#[pollster::test]
async fn merged_is_blended_and_unmerged_is_the_base() {
    for (model, blend) in [
        ("llama", &[("qv", 0.7), ("dora", -0.6), ("vo", 1.3), ("lora-xs", 0.5), ("vera", 1.0)][..]),
        ("qwen2", &[("all-linear", 0.7), ("dora", 1.2), ("bias-lora-only", -0.8)]),
        ("gpt2", &[("all-linear", -0.7), ("dora", 1.0), ("bias-lora-only", 0.6)]),
    ] {
        let files = MODELS.iter().find(|files| files.name == model).expect("a model");
        for (backend, device) in backends().await {
            let what = format!("{model} on {backend}");
            let mut engine = open(files, device);
            load(&mut engine, model, &blend.iter().map(|(name, _)| *name).collect::<Vec<_>>()).await;
            let base = logits(&mut engine, &[]).await;
            let want = logits(&mut engine, blend).await;
            engine.merge_adapter(&choice(blend)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(engine.active_adapters().is_empty(), "{what}: else they would act twice");
            assert_eq!(engine.merged_adapters(), choice(blend), "{what}");
            let got = engine.logits(&IDS).await.expect("it fits");
            assert_close(&what, &got, &want, tolerance(backend));
            assert!(
                misfit(&got, &base, Tolerance { abs: 0.1, rel: 0.0 }).is_some(),
                "{what}: does something"
            );
            engine.unmerge_adapter().expect("merged");
            assert!(engine.merged_adapters().is_empty());
            assert_eq!(logits(&mut engine, &[]).await, base, "{what}: bit for bit");
            assert_close(&what, &logits(&mut engine, blend).await, &want, Tolerance { abs: 0.0, rel: 0.0 });
        }
    }
}

/// A head that is cut into slices, on a device that binds little.
#[pollster::test]
async fn a_matrix_in_slices_is_merged_too() {
    let options =
        GpuOptions { default_limits: true, max_tensor_bytes: Some(48 << 10), ..GpuOptions::default() };
    let Some(backend) = gpu_with(options).await else { return };
    let sizes = EngineOptions { context_length: Some(64), batch: Some(1), ..EngineOptions::default() };
    let mut engine = LLAMA.open(backend, &sizes).expect("it fits in slices");
    let rows = engine.model().weights.rows_of("lm_head").expect("a head");
    assert!(rows.len() > 1, "the test wants slices, got {rows:?}");
    engine.add_adapter("head", head()).expect("fits");
    let base = logits(&mut engine, &[]).await;
    let want = logits(&mut engine, &[("head", 0.9)]).await;
    engine.merge_adapter(&choice(&[("head", 0.9)])).await.expect("it has weights to go to");
    let got = logits(&mut engine, &[]).await;
    assert_close("slices", &got, &want, tolerance("gpu"));
    assert!(misfit(&got, &base, Tolerance { abs: 0.1, rel: 0.0 }).is_some());
    engine.unmerge_adapter().expect("merged");
    assert_eq!(logits(&mut engine, &[]).await, base);
}

/// On the head (300, 42).
fn head() -> Adapter {
    let ramp = |len: usize, step: f32| (0..len).map(|i| ((i as f32 * step).sin()) * 0.3).collect::<Vec<_>>();
    let (a, b) = (ramp(2 * 42, 0.7), ramp(300 * 2, 1.3));
    let delta = ModuleDelta {
        module: "lm_head".to_owned(),
        rank: 2,
        a: a.into(),
        b: b.into(),
        ..ModuleDelta::default()
    };
    Adapter { deltas: vec![delta], ..Adapter::default() }
}

/// Keys and values of the merged weights are not those of the base, nor of another merge.
#[pollster::test]
async fn a_merge_makes_the_cache_its_own() {
    for (backend, device) in backends().await {
        let mut engine = open(&LLAMA, device);
        load(&mut engine, "llama", &["qv", "vo"]).await;
        let (base, cached) = text(&mut engine).await;
        assert_eq!(cached, 0, "{backend}");
        engine.merge_adapter(&choice(&[("qv", 1.5)])).await.expect("idle");
        let (merged, cached) = text(&mut engine).await;
        assert_eq!(cached, 0, "{backend}: the base's cache is stale");
        assert_ne!(merged, base, "{backend}: the merge matters");
        assert_eq!(text(&mut engine).await, (merged.clone(), IDS.len() - 1), "{backend}: its own is not");
        engine.unmerge_adapter().expect("idle");
        assert_eq!(text(&mut engine).await, (base.clone(), IDS.len() - 1), "{backend}: valid again");
        engine.merge_adapter(&choice(&[("vo", -2.0)])).await.expect("idle");
        let (other, cached) = text(&mut engine).await;
        assert_eq!(cached, 0, "{backend}: another merge");
        assert!(other != merged && other != base, "{backend}");
        // What a fresh engine says, which has no cache to be stale.
        let mut fresh = fast().await;
        load(&mut fresh, "llama", &["vo"]).await;
        fresh.set_adapter(choice(&[("vo", -2.0)])).expect("loaded");
        assert_eq!(other, text(&mut fresh).await.0, "{backend}");
    }
}

/// Adapters loaded over merged weights are computed from the base's own.
#[pollster::test]
async fn others_act_on_top_and_know_the_base() {
    let mut engine = fast().await;
    load(&mut engine, "llama", &["qv", "vo", "dora"]).await;
    let both = logits(&mut engine, &[("qv", 0.8), ("vo", 1.1)]).await;
    let dora = logits(&mut engine, &[("dora", 1.0)]).await;
    engine.delete_adapter("dora").expect("idle");
    engine.merge_adapter(&choice(&[("qv", 0.8)])).await.expect("idle");
    let got = logits(&mut engine, &[("vo", 1.1)]).await;
    assert_close("on top", &got, &both, tolerance("cpu"));
    // Its magnitudes divide by the norms of the weights.
    load(&mut engine, "llama", &["dora"]).await;
    engine.unmerge_adapter().expect("merged");
    assert_eq!(logits(&mut engine, &[("dora", 1.0)]).await, dora);
}

#[pollster::test]
async fn what_cannot_be_merged_is_refused_by_name() {
    let mut engine = fast().await;
    load(&mut engine, "llama", &["qv", "vo", "ia3", "lora-bias"]).await;
    engine.add_adapter("head", head()).expect("fits");
    let base = logits(&mut engine, &[]).await;
    for (parts, kind, words) in [
        (
            &[("y", 1.0)][..],
            ErrorKind::Argument,
            "adapter `y` is not loaded; loaded are `qv`, `vo`, `ia3`, `lora-bias`, `head`",
        ),
        (&[("qv", f32::NAN)], ErrorKind::Argument, "adapter `qv`: weight NaN, expected a number"),
        (&[("qv", 0.0)], ErrorKind::Argument, "no adapter to merge"),
        (&[], ErrorKind::Argument, "no adapter to merge"),
        (
            &[("qv", 1.0), ("ia3", 1.0)],
            ErrorKind::Unsupported,
            "adapter `ia3` cannot be merged: `model.layers.0.mlp.down_proj.input` is an activation, which has no weight",
        ),
        (
            &[("lora-bias", 1.0)],
            ErrorKind::Unsupported,
            "adapter `lora-bias` cannot be merged: `model.layers.0.mlp.down_proj` is shifted, and has no bias in the base",
        ),
    ] {
        let error = engine.merge_adapter(&choice(parts)).await.expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
    }
    assert_eq!(logits(&mut engine, &[]).await, base, "refusals leave the weights alone");

    let argument = |result: lorakeet::Result<()>, words: &str| {
        let error = result.expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Argument, words));
    };
    argument(engine.unmerge_adapter(), "no adapter is merged");
    engine
        .merge_adapter(&choice(&[("qv", 1.0), ("vo", 0.0), ("head", 1.0)]))
        .await
        .expect("it has a head of its own");
    argument(
        engine.merge_adapter(&choice(&[("vo", 1.0)])).await,
        "adapters `qv`, `head` are merged already, unmerge first",
    );
    let merged = "adapter `qv` is merged into the weights, unmerge it first";
    argument(engine.delete_adapter("qv"), merged);
    argument(engine.set_adapter(choice(&[("vo", 1.0), ("qv", 1.0)])), merged);
    argument(engine.add_adapter("qv", head()).map(|_| ()), merged);
    let generation = engine.start(&[Request::greedy(IDS.to_vec(), 8)]).expect("valid");
    let running = "a generation is running, the weights cannot change under it";
    argument(engine.unmerge_adapter(), running);
    engine.end(generation);
    engine.unmerge_adapter().expect("idle");
    let generation = engine.start(&[Request::greedy(IDS.to_vec(), 8)]).expect("valid");
    argument(engine.merge_adapter(&choice(&[("qv", 1.0)])).await, running);
    engine.end(generation);
    engine.delete_adapter("qv").expect("no longer merged");
}

#[pollster::test]
async fn a_tied_head_is_not_merged() {
    let tied = MODELS.iter().find(|files| files.name == "llama-tied").expect("a model");
    let mut engine = open(tied, backends().await.remove(1).1);
    let mut adapter = head();
    let shape = engine.model().bank.sites.last().expect("a head").shape(0);
    adapter.deltas[0].a = vec![0.1; 2 * shape[0]].into();
    adapter.deltas[0].b = vec![0.1; 2 * shape[1]].into();
    engine.add_adapter("head", adapter).expect("fits");
    let error = engine.merge_adapter(&choice(&[("head", 1.0)])).await.expect_err("tied");
    let words =
        "adapter `head` cannot be merged: `lm_head` is tied to the embedding, which would change with it";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, words));
}
