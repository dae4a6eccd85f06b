//! PEFT folders on whole models: logits as PEFT computes them, or the refusal that is right.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::{Fixture, Tolerance, assert_close, backends, misfit};
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
    let models = [
        "llama",
        "qwen2",
        "qwen3",
        "gpt2",
        "gemma",
        "gemma2",
        "gemma3",
        "smollm3",
        "granite",
        "olmo2",
        "phi3",
        "phi",
        "stablelm-parallel",
        "gpt_neox",
    ];
    for model in models.into_iter().chain(crate::common::models::MORE.iter().map(|files| files.name)) {
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

/// The numbers of an adapter are kept once: in its file, and beside that only what is computed from it.
#[pollster::test]
async fn an_adapter_takes_the_memory_of_its_file() {
    let mut engine = open(&repository("tests/fixtures/models/llama")).await.remove(1).1;
    for (kind, more) in [("qv", 0..1), ("f16", 0..1), ("rslora", 0..1), ("dora", 1..1 << 20)] {
        let folder = repository("tests/fixtures/adapters/llama").join(kind);
        let info = folder::load_adapter(&mut engine, "x", &folder).await.expect("valid");
        let file = read(&folder.join("adapter_model.safetensors")).expect("there");
        assert!(more.contains(&(info.bytes - file.len())), "{kind}: {} of {}", info.bytes, file.len());
    }
}

/// Adapters trained with PEFT on a real model.
#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn trained_adapters() {
    let data = repository("../shared/data");
    let entries = std::fs::read_dir(data.join("adapters")).expect("data beside the checkout");
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

/// Folders of mlx-lm and mistral-finetune, `tests/fixtures/other_trainers.py`; each is exported as a PEFT
/// folder that gives the same logits.
#[pollster::test]
async fn folders_of_other_trainers() {
    let warns = [
        ("mlx-old", "`lora_parameters.alpha` is not used"),
        (
            "mlx-unused",
            "tensors of 4 modules that num_layers or keys in adapter_config.json leave out are not used: `model.layers.0",
        ),
        ("finetune-alone", "params.json does not tell the LoRA's scaling, which is taken to be 2"),
    ];
    let mut seen = 0;
    for model in ["llama", "qwen2", "gpt2", "mistral"] {
        let home = repository("tests/fixtures/adapters/other").join(model);
        for (backend, mut engine) in open(&repository(&format!("tests/fixtures/models/{model}"))).await {
            for entry in std::fs::read_dir(&home).expect("there") {
                let folder = entry.expect("an entry").path();
                let kind = folder.file_name().expect("a name").to_string_lossy().into_owned();
                let what = format!("{model}/{kind} on {backend}");
                let loaded = folder::load_adapter(&mut engine, "x", &folder).await;
                let info = loaded.unwrap_or_else(|e| panic!("{what}: {e}"));
                match warns.iter().find(|(warned, _)| *warned == kind) {
                    Some((_, words)) => {
                        assert!(info.warnings[0].contains(words), "{what}: {:?}", info.warnings)
                    }
                    None => assert!(info.warnings.is_empty(), "{what}: {:?}", info.warnings),
                }
                let reference = read(&folder.join("reference.safetensors")).expect("there");
                let reference = Fixture::new(&reference);
                let ids = reference.ids("input_ids");
                let got = logits(&mut engine, &ids, 1.0).await;
                assert_close(&what, &got, &reference.f32("logits"), tolerance(backend));
                let off = logits(&mut engine, &ids, 0.0).await;
                let tells = Tolerance { abs: 0.05, rel: 0.0 };
                assert!(misfit(&got, &off, tells).is_some(), "{what}: does nothing");
                let files = engine.export_adapter("x").await.expect("a LoRA");
                engine.load_adapter("x", &files.config, &files.weights).await.expect("a PEFT folder");
                let again = logits(&mut engine, &ids, 1.0).await;
                assert_close(&what, &again, &got, Tolerance { abs: 1e-6, rel: 0.0 });
                engine.delete_adapter("x").expect("idle");
                seen += 1;
            }
        }
    }
    assert!(seen >= 11, "{seen}");
}

/// A folder of the test's own, deleted in the end.
struct Made(PathBuf);

impl Made {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("lorakeet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("writable");
        files.iter().for_each(|(name, bytes)| std::fs::write(path.join(name), bytes).expect("writable"));
        Self(path)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[pollster::test]
async fn what_is_wrong_with_them_is_named() {
    let (_, mut engine) = open(&repository("tests/fixtures/models/llama")).await.remove(0);
    let home = repository("tests/fixtures/adapters/other/llama/mlx-all");
    let weights = read(&home.join("adapters.safetensors")).expect("there");
    let config: Value =
        serde_json::from_slice(&read(&home.join("adapter_config.json")).expect("there")).expect("JSON");
    let set = |path: &str, value: Value| {
        let mut config = config.clone();
        *config.pointer_mut(path).expect("a field") = value;
        config.to_string().into_bytes()
    };
    for (config, words) in [
        (set("/fine_tune_type", "full".into()), "fine_tune_type `full` of mlx-lm"),
        (
            set("/fine_tune_type", "loha".into()),
            "field `fine_tune_type` is \"loha\", expected \"lora\" or \"dora\"",
        ),
        (set("/lora_parameters", Value::Null), "field `lora_parameters` of mlx-lm is missing"),
        (
            set("/lora_parameters/scale", Value::Null),
            "field `lora_parameters.scale` is null, expected a number other than 0",
        ),
        (set("/lora_parameters/scale", "2".into()), "field `lora_parameters.scale` is \"2\""),
        (
            set("/lora_parameters/rank", (-4).into()),
            "field `lora_parameters.rank` is -4, expected an integer from 1 on",
        ),
        (set("/lora_parameters/rank", 8.into()), ".lora_a`: shape [42, 4], expected rank 8"),
        (set("/lora_parameters/dropout", 0.into()), ""),
        (set("/num_layers", "all".into()), "field `num_layers` is \"all\", expected an integer"),
    ] {
        let got = engine.load_adapter("x", &config, &weights).await;
        match got {
            Ok(_) => assert_eq!(words, ""),
            Err(e) => assert!(!words.is_empty() && e.to_string().contains(words), "{words}: {e}"),
        }
    }
    // Weights and config of two trainers.
    let peft =
        read(&repository("tests/fixtures/adapters/llama/qv/adapter_model.safetensors")).expect("there");
    let error = engine.load_adapter("y", &set("/train", true.into()), &peft).await.expect_err("another's");
    assert!(error.to_string().contains("an adapter of mlx-lm has no place for it"), "{error}");
    // One module's tensors under two names.
    let twice = twice(&weights);
    let error = engine.load_adapter("y", &set("/train", true.into()), &twice).await.expect_err("twice");
    assert!(error.to_string().contains("the file has it twice"), "{error}");
    let made = Made::new("alone", &[("adapters.safetensors", &weights)]);
    let error = folder::load_adapter(&mut engine, "y", &made.0).await.expect_err("no config");
    assert!(error.to_string().contains("adapter_config.json"), "{error}");
}

/// A file's tensors, and its first one once more under a wrapper's name.
fn twice(weights: &[u8]) -> Vec<u8> {
    rewritten(weights, |tensors| {
        let (name, shape, values) = tensors[0].clone();
        tensors.push((format!("_orig_mod.{name}"), shape, values));
    })
}

/// Tensors of some layers only, on a base of this repository and on a real one.
#[pollster::test]
async fn layers_without_tensors_stay_the_bases() {
    let home = repository("tests/fixtures/adapters/llama/qv");
    let config = read(&home.join("adapter_config.json")).expect("there");
    let all = read(&home.join("adapter_model.safetensors")).expect("there");
    for (backend, mut engine) in open(&repository("tests/fixtures/models/llama")).await {
        let (ids, whole) = ([5, 90, 17, 203], engine.load_adapter("x", &config, &all).await.expect("valid"));
        assert!(whole.warnings.is_empty());
        let all_on = logits(&mut engine, &ids, 1.0).await;
        let some = only(&all, |name| name.contains(".layers.1."));
        let info = engine.load_adapter("x", &config, &some).await.expect("as PEFT does");
        let warning = "adapter_config.json targets 4 modules that the adapter has no tensors for, which stay the \
                       base's: `model.layers.0.self_attn.q_proj`, `model.layers.0.self_attn.v_proj`, \
                       `model.layers.2.self_attn.q_proj`, `model.layers.2.self_attn.v_proj`";
        assert_eq!(info.warnings, [warning], "{backend}");
        assert_eq!(info.modules.len(), 2);
        let some_on = logits(&mut engine, &ids, 1.0).await;
        // The same as one whose other layers' B are zero.
        let zeroed = zeroed(&all, |name| !name.contains(".layers.1.") && name.contains("lora_B"));
        engine.load_adapter("x", &config, &zeroed).await.expect("valid");
        assert_close(backend, &some_on, &logits(&mut engine, &ids, 1.0).await, tolerance(backend));
        assert!(misfit(&some_on, &all_on, Tolerance { abs: 1e-2, rel: 0.0 }).is_some());
        // A module of which there is nothing at all, and half of one.
        let no_v = only(&all, |name| !name.contains("v_proj"));
        let error = engine.load_adapter("x", &config, &no_v).await.expect_err("named in vain");
        let words = "module `model.layers.0.self_attn.v_proj`: adapter_config.json targets it, the adapter has no \
                     tensors for it";
        assert_eq!(error.to_string(), words);
        let half = only(&all, |name| !name.contains(".layers.0.self_attn.q_proj.lora_B"));
        let error = engine.load_adapter("x", &config, &half).await.expect_err("half");
        assert!(error.to_string().contains("the adapter has no lora_B for it"), "{error}");
        // DoRA without a magnitude is no LoRA.
        let home = repository("tests/fixtures/adapters/llama/dora");
        let config = read(&home.join("adapter_config.json")).expect("there");
        let dora = read(&home.join("adapter_model.safetensors")).expect("there");
        let bare = only(&dora, |name| !(name.contains(".layers.0.") && name.contains("magnitude")));
        let error = engine.load_adapter("x", &config, &bare).await.expect_err("half");
        assert!(error.to_string().contains("the adapter has no lora_magnitude_vector for it"), "{error}");
    }
}

/// The same of public reports, on a real base.
#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn reported_folders_that_leave_layers_out() {
    let data = repository("../shared/data");
    let cases =
        ["06-fewer-layers-than-named", "02-mlx-lm-adapter/all-layers", "02-mlx-lm-adapter/last-two-layers"];
    for case in cases.map(|case| data.join("cases").join(case)).iter() {
        for (backend, mut engine) in open(&data.join("models/stories260K")).await {
            let what = format!("{} on {backend}", case.display());
            let info =
                folder::load_adapter(&mut engine, "x", case).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(
                info.warnings.len(),
                usize::from(case.ends_with(cases[0])),
                "{what}: {:?}",
                info.warnings
            );
            let reference = read(&case.join("reference.safetensors")).expect("there");
            let reference = Fixture::new(&reference);
            let got = logits(&mut engine, &reference.ids("input_ids"), 1.0).await;
            assert_close(&what, &got, &reference.f32("adapter_logits"), tolerance(backend));
        }
    }
}

/// The same file with a table of other length: cut, or longer by zeros.
fn with_rows(weights: &[u8], table: &str, rows: usize) -> Vec<u8> {
    rewritten(weights, |tensors| {
        for (_, shape, values) in tensors.iter_mut().filter(|(name, ..)| name.contains(table)) {
            values.resize(rows * shape[1], 0.0);
            shape[0] = rows;
        }
    })
}

/// Tables that were made longer for new tokens, or cut to the tokenizer's.
#[pollster::test]
async fn tables_of_other_lengths() {
    for (folder, table) in [("save-head", "lm_head"), ("save-norm-embed", "embed_tokens")] {
        let home = repository("tests/fixtures/adapters/llama").join(folder);
        let config = read(&home.join("adapter_config.json")).expect("there");
        let all = read(&home.join("adapter_model.safetensors")).expect("there");
        let reference = read(&home.join("reference.safetensors")).expect("there");
        let reference = Fixture::new(&reference);
        let ids = reference.ids("input_ids");
        for (backend, mut engine) in open(&repository("tests/fixtures/models/llama")).await {
            let v = engine.config().vocab_size;
            for (rows, words) in [(v + 2, "2 tokens were"), (v + 1, "1 token was")] {
                let longer = with_rows(&all, table, rows);
                let error = engine.load_adapter("x", &config, &longer).await.expect_err("new tokens");
                assert_eq!(error.kind(), ErrorKind::Mismatch);
                let expected =
                    format!("{rows} rows: {words} added to this base before the adapter was trained");
                assert!(error.to_string().contains(&expected), "{error}");
                assert!(error.to_string().contains(&format!("resize_token_embeddings({rows})")), "{error}");
            }
            // Cut behind the last id of the reference; the head's other columns are the base's.
            let rows = *ids.iter().max().expect("some") as usize + 1;
            let cut = with_rows(&all, table, rows);
            let info = engine.load_adapter("x", &config, &cut).await.expect("fewer rows");
            let words =
                format!("{rows} rows, this base has {v}: its tokens from {rows} on keep the base's rows");
            assert!(info.warnings.len() == 1 && info.warnings[0].ends_with(&words), "{:?}", info.warnings);
            let got = logits(&mut engine, &ids, 1.0).await;
            let (expected, columns) = (reference.f32("logits"), if table == "lm_head" { rows } else { v });
            for (got, expected) in got.chunks_exact(v).zip(expected.chunks_exact(v)) {
                assert_close(folder, &got[..columns], &expected[..columns], tolerance(backend));
            }
        }
    }
}

/// Tokens added before training, on a real base.
#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn added_tokens_of_a_real_base() {
    let data = repository("../shared/data");
    let case = data.join("cases/03-added-tokens");
    for (backend, mut engine) in open(&data.join("models/stories260K")).await {
        let error = folder::load_adapter(&mut engine, "x", &case).await.expect_err("514 rows over 512");
        assert!(error.to_string().contains("514 rows: 2 tokens were added"), "{backend}: {error}");
        let info = folder::load_adapter(&mut engine, "x", &case.join("fewer-rows")).await.expect("500 rows");
        assert_eq!(info.warnings.len(), 2, "{backend}: {:?}", info.warnings);
    }
}

fn only(weights: &[u8], keeps: impl Fn(&str) -> bool) -> Vec<u8> {
    rewritten(weights, |tensors| tensors.retain(|(name, ..)| keeps(name)))
}

fn zeroed(weights: &[u8], zeroes: impl Fn(&str) -> bool) -> Vec<u8> {
    rewritten(weights, |tensors| {
        tensors.iter_mut().filter(|(name, ..)| zeroes(name)).for_each(|(.., values)| values.fill(0.0));
    })
}

/// A safetensors file with its tensors (name, shape, values) changed.
fn rewritten(weights: &[u8], change: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<f32>)>)) -> Vec<u8> {
    use lorakeet::format::{TensorData, safetensors::Header, write};
    let header = Header::from_file_bytes(weights).expect("valid");
    let read = |info: &lorakeet::format::TensorInfo| {
        let values = info.read_f32(info.bytes_in(weights).expect("inside")).expect("f32");
        (info.name.clone(), info.shape.clone(), values)
    };
    let mut values: Vec<_> = header.tensors.iter().map(read).collect();
    change(&mut values);
    let tensors: Vec<_> = values
        .iter()
        .map(|(name, shape, values)| (name.clone(), shape.clone(), TensorData::F32(values)))
        .collect();
    write(&tensors, &Default::default()).expect("valid")
}
