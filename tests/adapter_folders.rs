//! PEFT folders on whole models: logits as PEFT computes them, or the refusal that is right.
#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{Fixture, Tolerance, assert_close, backends, misfit};
use lorakeet::engine::{Engine, EngineOptions, folder};
use lorakeet::{Error, ErrorKind, Result};
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::network(format!("{}: {e}", path.display())))
}

async fn open(model: &Path) -> Vec<(&'static str, Engine)> {
    let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
    let open = |backend| folder::open(model, backend, &options, |_, _| {}).expect("a valid model");
    backends().await.into_iter().map(|(name, backend)| (name, open(backend))).collect()
}

async fn logits(engine: &mut Engine, ids: &[u32], weight: f32) -> Vec<f32> {
    engine.set_adapter(vec![("x".to_owned(), weight)]).expect("loaded");
    engine.logits(ids).await.expect("it fits")
}

#[pollster::test]
async fn fixtures_of_every_kind() {
    let index = read(&repository("tests/fixtures/adapters/index.json")).expect("there");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("a list");
    let text = |entry: &Value, key: &str| entry[key].as_str().expect(key).to_owned();
    let (mut equal, mut refused) = (0, 0);
    for model in ["llama", "qwen2", "gpt2"] {
        let base =
            read(&repository(&format!("tests/fixtures/adapters/{model}/base.safetensors"))).expect("there");
        let base = Fixture::new(&base);
        for (backend, mut engine) in open(&repository(&format!("tests/fixtures/models/{model}"))).await {
            for entry in index.iter().filter(|entry| text(entry, "model") == model) {
                let path = text(entry, "path");
                let what = format!("{path} on {backend}");
                let adapter = repository("tests/fixtures/adapters").join(&path);
                let loaded = folder::load_adapter(&mut engine, "x", &adapter).await;
                match (text(entry, "expects").as_str(), loaded) {
                    ("refusal", Err(error)) => {
                        assert_ne!(error.kind(), ErrorKind::Network, "{what}: {error}");
                        refused += 1;
                    }
                    ("logits", Ok(_)) => {
                        let reference = read(&adapter.join("reference.safetensors")).expect("there");
                        let reference = Fixture::new(&reference);
                        let ids = reference.ids("input_ids");
                        let got = logits(&mut engine, &ids, 1.0).await;
                        assert_close(&what, &got, &reference.f32("logits"), tolerance(backend));
                        let off = logits(&mut engine, &ids, 0.0).await;
                        assert_close(&what, &off, &base.f32("logits"), tolerance(backend));
                        assert!(
                            misfit(&got, &off, Tolerance { abs: 0.1, rel: 0.0 }).is_some(),
                            "{what}: does nothing"
                        );
                        engine.delete_adapter("x").expect("idle");
                        equal += 1;
                    }
                    (expected, result) => panic!("{what}: expected {expected}, got {result:?}"),
                }
            }
        }
    }
    println!("{equal} equal to PEFT, {refused} refused");
}

/// Adapters trained with PEFT on a real model.
#[pollster::test]
async fn trained_adapters() {
    let data = repository("../shared/data");
    let Ok(entries) = std::fs::read_dir(data.join("adapters")) else {
        println!("skipped: no trained adapters beside this checkout");
        return;
    };
    let folders: BTreeSet<PathBuf> =
        entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    for (backend, mut engine) in open(&data.join("models/stories260K")).await {
        for folder in folders.iter().filter(|folder| !folder.ends_with("real")) {
            let what = format!("{} on {backend}", folder.file_name().expect("a name").to_string_lossy());
            match folder::load_adapter(&mut engine, "x", folder).await {
                Ok(_) => {
                    let reference = read(&folder.join("reference.safetensors")).expect("there");
                    let reference = Fixture::new(&reference);
                    let ids = reference.ids("input_ids");
                    let got = logits(&mut engine, &ids, 1.0).await;
                    assert_close(&what, &got, &reference.f32("adapter_logits"), tolerance(backend));
                    let off = logits(&mut engine, &ids, 0.0).await;
                    assert_close(&what, &off, &reference.f32("base_logits"), tolerance(backend));
                    engine.delete_adapter("x").expect("idle");
                }
                Err(error) => {
                    let right = what.contains("pissa-UNCONVERTED") || what.contains("old-bin-format");
                    assert!(right, "{what}: {error}");
                    println!("{what}: {error}");
                }
            }
        }
    }
}
