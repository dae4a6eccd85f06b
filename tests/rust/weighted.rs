//! Weighted combinations and export: PEFT's tensors, PEFT's logits, and folders that come back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::models::{LLAMA, MODELS, ModelFiles};
use crate::common::{Fixture, Tolerance, assert_close, backends, misfit};
use lorakeet::engine::AdapterConfig;
use lorakeet::engine::{
    Adapter, AdapterFiles, Choice, Combination, CombinationType, Engine, EngineOptions, MajoritySign,
    ModuleDelta, folder,
};
use lorakeet::format::safetensors::Header;
use lorakeet::{Error, ErrorKind};
use serde_json::Value;

const TENSORS: Tolerance = Tolerance { abs: 1e-4, rel: 0.0 };

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters").join(path)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn files(folder: &Path) -> AdapterFiles {
    AdapterFiles {
        config: read(&folder.join("adapter_config.json")),
        weights: read(&folder.join("adapter_model.safetensors")),
    }
}

fn logits_tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

async fn engines(files: &ModelFiles) -> Vec<(&'static str, Engine)> {
    let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
    let open = |backend| files.open(backend, &options).expect("a valid model");
    backends().await.into_iter().map(|(name, backend)| (name, open(backend))).collect()
}

async fn fast() -> Engine {
    engines(&LLAMA).await.remove(1).1
}

async fn load(engine: &mut Engine, names: &[&str]) {
    for name in names {
        folder::load_adapter(engine, name, &fixture(&format!("llama/{name}")))
            .await
            .expect("a valid adapter");
    }
}

/// Tensors by name: shape, elements.
fn tensors(file: &[u8]) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let header = Header::from_file_bytes(file).expect("valid");
    let values = |info: &lorakeet::format::TensorInfo| {
        info.read_f32(info.bytes_in(file).expect("in the file")).expect("floats")
    };
    header.tensors.iter().map(|info| (info.name.clone(), (info.shape.clone(), values(info)))).collect()
}

/// B·A of every module.
fn products(file: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let tensors = tensors(file);
    let product = |(name, (shape, a)): (&String, &(Vec<usize>, Vec<f32>))| {
        let module = name.strip_suffix(".lora_A.weight")?;
        let (rank, c) = (shape[0], shape[1]);
        let (_, b) = &tensors[&format!("{module}.lora_B.weight")];
        let at = |row: &[f32], c_: usize| (0..rank).map(|r| row[r] * a[r * c + c_]).sum();
        let delta = b.chunks_exact(rank).flat_map(|row| (0..c).map(move |c_| at(row, c_))).collect();
        Some((module.to_owned(), delta))
    };
    tensors.iter().filter_map(product).collect()
}

fn choice(parts: &[(&str, f32)]) -> Choice {
    parts.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

fn of(combination_type: &str) -> Combination {
    Combination::new(combination_type.parse().expect("one of PEFT's"))
}

/// The combination that an entry of `index.json` describes, and its adapters.
fn described(entry: &Value, seed: u32) -> (Choice, Combination) {
    let arguments = &entry["combination"];
    let names = arguments["adapters"].as_array().expect("names").iter();
    let weights = arguments["weights"].as_array().expect("weights").iter();
    let name = |name: &Value| name.as_str().expect("a name").to_owned();
    let choice = names.zip(weights).map(|(n, w)| (name(n), w.as_f64().expect("a number") as f32)).collect();
    let combination = Combination {
        density: arguments["density"].as_f64(),
        svd_rank: arguments["svd_rank"].as_u64().map(|rank| rank as usize),
        majority_sign_method: match arguments["majority_sign_method"].as_str() {
            Some(method) => method.parse().expect("one of PEFT's"),
            None => MajoritySign::default(),
        },
        seed,
        ..of(arguments["combination_type"].as_str().expect("a word"))
    };
    (choice, combination)
}

#[pollster::test]
async fn combinations_are_those_of_peft() {
    let index: Vec<Value> = serde_json::from_slice(&read(&fixture("index.json"))).expect("a list");
    for files in MODELS {
        let of_model = |entry: &&Value| entry["kind"] == "weighted" && entry["model"] == files.name;
        let combined: Vec<_> = index.iter().filter(of_model).collect();
        let least = match files.name {
            "llama" => 13,
            "gpt2" => 1,
            _ => continue,
        };
        assert!(combined.len() >= least, "every method has a fixture");
        for (backend, mut engine) in engines(files).await {
            for entry in &combined {
                check_combination(backend, &mut engine, entry).await;
            }
        }
    }
}

/// An entry of `index.json`, made anew: tensors, config and logits.
async fn check_combination(backend: &str, engine: &mut Engine, entry: &Value) {
    let path = entry["path"].as_str().expect("a path");
    let what = format!("{path} on {backend}");
    let home = fixture(path);
    let reference = read(&home.join("reference.safetensors"));
    let seed = Header::from_file_bytes(&reference).expect("valid").metadata.get("seed").cloned();
    let (choice, combination) = described(entry, seed.map_or(0, |seed| seed.parse().expect("a seed")));
    for (name, _) in &choice {
        folder::load_adapter(engine, name, &fixture(name)).await.expect("a valid adapter");
    }
    engine.add_weighted_adapter("x", &choice, &combination).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let (got, want) = (engine.export_adapter("x").await.expect("a LoRA"), files(&home));
    compare(&what, &got, &want, combination.combination_type);
    let reference = Fixture::new(&reference);
    let ids = reference.ids("input_ids");
    engine.set_adapter(vec![("x".to_owned(), 1.0)]).expect("loaded");
    let logits = engine.logits(&ids).await.expect("it fits");
    assert_close(&what, &logits, &reference.f32("logits"), logits_tolerance(backend));
}

/// The same modules and shapes, the same numbers, and configs that mean the same.
fn compare(what: &str, got: &AdapterFiles, want: &AdapterFiles, combination_type: CombinationType) {
    let (got_tensors, want_tensors) = (tensors(&got.weights), tensors(&want.weights));
    let shapes = |tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>| -> Vec<_> {
        tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect()
    };
    assert_eq!(shapes(&got_tensors), shapes(&want_tensors), "{what}");
    if matches!(combination_type, CombinationType::Svd(_)) {
        for ((module, got), want) in products(&got.weights).iter().zip(products(&want.weights).values()) {
            assert_close(&format!("{what} {module}"), got, want, TENSORS);
        }
    } else {
        for ((name, (_, got)), (_, want)) in got_tensors.iter().zip(want_tensors.values()) {
            assert_close(&format!("{what} {name}"), got, want, TENSORS);
        }
    }
    // PEFT corrects `fan_in_fan_out` by the layer's type, in memory, and writes it so.
    let config = |files: &AdapterFiles| {
        let mut config = AdapterConfig::from_json(&files.config).expect("valid");
        config.common.fan_in_fan_out = false;
        config
    };
    assert_eq!(config(got), config(want), "{what}");
}

/// A perturbed element is seen, so that the comparison above means something.
#[test]
#[should_panic(expected = "lora_B")]
fn another_element_is_another_combination() {
    let want = files(&fixture("weighted/ties"));
    let mut got = want.clone();
    // The last tensor of the file is a lora_B; its last byte has sign and exponent.
    *got.weights.last_mut().expect("not empty") ^= 0x41;
    compare("ties", &got, &want, "ties".parse().expect("one of PEFT's"));
}

#[pollster::test]
async fn a_folder_comes_back_as_it_was() {
    let mut engine = fast().await;
    for name in ["qv", "dora", "bf16", "vera", "ia3", "lora-bias"] {
        load(&mut engine, &[name]).await;
        let files = files(&fixture(&format!("llama/{name}")));
        assert_eq!(engine.export_adapter(name).await, Ok(files), "{name}");
    }
    let words = engine.export_adapter("none").await.expect_err("not loaded").to_string();
    assert!(words.starts_with("adapter `none` is not loaded"), "{words}");
}

fn delta(module: &str, rank: usize, [c, f]: [usize; 2]) -> ModuleDelta {
    let ramp = |len: usize, step: f32| (0..len).map(|i| ((i as f32 * step).sin()) * 0.2).collect::<Vec<_>>();
    let module = module.to_owned();
    let (a, b) = (ramp(rank * c, 0.7).into(), ramp(rank * f, 1.3).into());
    ModuleDelta { module, rank, a, b, ..ModuleDelta::default() }
}

/// Two ranks, so that the config needs patterns; one name without the base's prefix.
fn made_here() -> Adapter {
    let deltas = vec![
        delta("model.layers.0.self_attn.q_proj", 3, [42, 48]),
        delta("layers.2.self_attn.q_proj", 5, [42, 48]),
        delta("model.layers.1.mlp.down_proj", 3, [46, 42]),
    ];
    Adapter { deltas, ..Adapter::default() }
}

#[pollster::test]
async fn an_adapter_without_a_folder_gets_one() {
    let mut engine = fast().await;
    engine.add_adapter("made", made_here()).expect("fits");
    let exported = engine.export_adapter("made").await.expect("a LoRA");
    let config = AdapterConfig::from_json(&exported.config).expect("valid");
    for (module, rank) in [("model.layers.0.self_attn.q_proj", 3), ("model.layers.2.self_attn.q_proj", 5)] {
        assert_eq!((config.rank(module), config.scale(module)), (Ok(rank), Ok(1.0)), "{module}");
    }
    let back = engine.load_adapter("back", &exported.config, &exported.weights).await.expect("valid");
    assert_eq!(back.modules.len(), 3);
    let ids: Vec<u32> = (1..20).collect();
    let mut logits = Vec::new();
    for name in ["made", "back"] {
        engine.set_adapter(choice(&[(name, 1.0)])).expect("loaded");
        logits.push(engine.logits(&ids).await.expect("it fits"));
    }
    assert_eq!(logits[0], logits[1]);
    engine.set_adapter(Choice::new()).expect("the base");
    let base = engine.logits(&ids).await.expect("it fits");
    assert!(misfit(&base, &logits[0], Tolerance { abs: 0.01, rel: 0.0 }).is_some(), "it does something");
    // For PEFT to load: `tests/fixtures/check_export.py` compares its logits.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("made-here");
    folder::save_adapter(&exported, &out).expect("writable");
    assert_eq!(files(&out), exported);
}

#[pollster::test]
async fn what_no_lora_expresses_is_not_exported() {
    let mut engine = fast().await;
    let mut adapter = made_here();
    adapter.deltas[1].gain = vec![0.5; 48];
    engine.add_adapter("gained", adapter).expect("fits");
    let error = engine.export_adapter("gained").await.expect_err("it scales");
    let words =
        "adapter `gained`: what it does to `layers.2.self_attn.q_proj` is nothing that a LoRA can express";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, words));
}

/// The result is an adapter like others: it can be combined again, and so can one made here.
#[pollster::test]
async fn combinations_can_be_combined() {
    let mut engine = fast().await;
    load(&mut engine, &["qv"]).await;
    engine.add_adapter("made", made_here()).expect("fits");
    engine
        .add_weighted_adapter("a", &choice(&[("qv", 0.5), ("made", -2.0)]), &of("cat"))
        .await
        .expect("fits");
    engine.add_weighted_adapter("b", &choice(&[("a", 2.0), ("qv", 1.0)]), &of("svd")).await.expect("fits");
    let ids: Vec<u32> = (1..20).collect();
    // By `svd` at the full rank nothing is lost.
    engine.set_adapter(choice(&[("qv", 2.0), ("made", -4.0)])).expect("loaded");
    let want = engine.logits(&ids).await.expect("it fits");
    engine.set_adapter(choice(&[("b", 1.0)])).expect("loaded");
    let got = engine.logits(&ids).await.expect("it fits");
    assert_close("combined twice", &got, &want, logits_tolerance("cpu"));
}

/// Targets given as patterns, and as `all-linear` with exceptions.
#[pollster::test]
async fn targets_of_every_kind_are_joined() {
    let mut engine = fast().await;
    let ids: Vec<u32> = (1..20).collect();
    for name in ["regex", "exclude"] {
        load(&mut engine, &[name]).await;
        let again = files(&fixture(&format!("llama/{name}")));
        engine.load_adapter("again", &again.config, &again.weights).await.expect("valid");
        let twice = choice(&[(name, 1.5), ("again", -0.5)]);
        engine.add_weighted_adapter("x", &twice, &of("cat")).await.expect("fits");
        engine.set_adapter(choice(&[(name, 1.0)])).expect("loaded");
        let want = engine.logits(&ids).await.expect("it fits");
        engine.set_adapter(choice(&[("x", 1.0)])).expect("loaded");
        let got = engine.logits(&ids).await.expect("it fits");
        assert_close(name, &got, &want, logits_tolerance("cpu"));
    }
}

/// An adapter that is combined alone is scaled, whatever the method.
#[pollster::test]
async fn one_adapter_alone_is_scaled() {
    let mut engine = fast().await;
    load(&mut engine, &["rank-alpha-pattern"]).await;
    let one = choice(&[("rank-alpha-pattern", -0.6)]);
    engine.add_weighted_adapter("x", &one, &of("dare_ties")).await.expect("fits");
    let ids: Vec<u32> = (1..20).collect();
    engine.set_adapter(one).expect("loaded");
    let want = engine.logits(&ids).await.expect("it fits");
    engine.set_adapter(choice(&[("x", 1.0)])).expect("loaded");
    let got = engine.logits(&ids).await.expect("it fits");
    assert_close("scaled", &got, &want, logits_tolerance("cpu"));
}

#[pollster::test]
async fn svd_clamp_limits_the_elements() {
    let mut engine = fast().await;
    load(&mut engine, &["qv", "vo"]).await;
    let both = choice(&[("qv", 1.0), ("vo", 1.0)]);
    engine.add_weighted_adapter("free", &both, &of("svd")).await.expect("fits");
    let clamp = Combination { svd_clamp: Some(0.9), ..of("svd") };
    engine.add_weighted_adapter("clamped", &both, &clamp).await.expect("fits");
    let free = tensors(&engine.export_adapter("free").await.expect("a LoRA").weights);
    let clamped = tensors(&engine.export_adapter("clamped").await.expect("a LoRA").weights);
    for module in free.keys().filter_map(|name| name.strip_suffix(".lora_A.weight")) {
        let both = |tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>| -> Vec<f32> {
            ["A", "B"].iter().flat_map(|x| tensors[&format!("{module}.lora_{x}.weight")].1.clone()).collect()
        };
        let (free, clamped) = (both(&free), both(&clamped));
        let limit = clamped.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let above = free.iter().filter(|x| **x > limit).count() as f64 / free.len() as f64;
        assert!((0.08..=0.11).contains(&above), "{module}: {above} above {limit}");
        assert!(
            free.iter().zip(&clamped).all(|(free, clamped)| free.clamp(-limit, limit) == *clamped),
            "{module}"
        );
    }
}

#[pollster::test]
async fn what_cannot_be_combined_is_refused_by_name() {
    let mut engine = fast().await;
    load(&mut engine, &["qv", "vo", "qv-old", "dora", "ia3", "lora-xs", "layers", "regex", "lora-bias"])
        .await;
    engine.add_adapter("made", made_here()).expect("fits");
    async fn refused(engine: &mut Engine, names: &[&str], how: Combination) -> Error {
        let choice: Choice = names.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        engine.add_weighted_adapter("x", &choice, &how).await.expect_err("refused")
    }
    let ties = |density: Option<f64>| Combination { density, ..of("ties") };
    for (names, how, kind, words) in [
        (&["qv", "y"][..], of("cat"), ErrorKind::Argument, "adapter `y` is not loaded"),
        (&[], of("cat"), ErrorKind::Argument, "a combination of no adapters"),
        (
            &["qv", "qv-old"],
            of("linear"),
            ErrorKind::Argument,
            "adapters of ranks [4, 3], expected one rank: only cat and svd combine different ones",
        ),
        (
            &["qv", "vo"],
            ties(None),
            ErrorKind::Argument,
            "this combination type prunes, expected the option density",
        ),
        (&["qv", "vo"], ties(Some(1.5)), ErrorKind::Argument, "density 1.5, expected above 0, at most 1"),
        (&["qv", "vo"], ties(Some(0.0)), ErrorKind::Argument, "density 0, expected above 0, at most 1"),
        (
            &["qv", "vo"],
            Combination { svd_rank: Some(0), ..of("svd") },
            ErrorKind::Argument,
            "svd_rank 0, expected at least 1",
        ),
        (
            &["qv", "vo"],
            Combination { svd_clamp: Some(-0.5), ..of("svd") },
            ErrorKind::Argument,
            "svd_clamp -0.5, expected 0 to 1",
        ),
        (
            &["qv", "ia3"],
            of("cat"),
            ErrorKind::Unsupported,
            "adapter `ia3` cannot be combined: peft_type IA3, expected LORA",
        ),
        (
            &["qv", "dora"],
            of("cat"),
            ErrorKind::Unsupported,
            "adapter `dora` cannot be combined: field `use_dora`, expected a plain LoRA",
        ),
        (
            &["lora-bias"],
            of("cat"),
            ErrorKind::Unsupported,
            "adapter `lora-bias` cannot be combined: field `lora_bias`, expected a plain LoRA",
        ),
        (&["lora-xs"], of("cat"), ErrorKind::Unsupported, "adapter `lora-xs` cannot be combined: tensor `"),
        (
            &["qv", "regex"],
            of("cat"),
            ErrorKind::Argument,
            "target_modules is a pattern in some of the adapters and a list in others, expected one of the two",
        ),
        (
            &["layers", "qv"],
            of("cat"),
            ErrorKind::Unsupported,
            "module `model.layers.0.self_attn.q_proj`: an adapter acts on it, the first adapter's adapter_config.json keeps it out",
        ),
        (&["made", "qv"], of("linear"), ErrorKind::Argument, "adapters of ranks [5, 4], expected one rank"),
    ] {
        let error = refused(&mut engine, names, how).await;
        assert_eq!(error.kind(), kind, "{names:?}: {error}");
        assert!(error.to_string().starts_with(words), "{names:?}: {error}\nexpected {words}");
    }
    let words = "combinationType `mean`, expected cat, linear, svd, ties, ties_svd, dare_linear, dare_linear_svd, \
                 dare_ties, dare_ties_svd, magnitude_prune or magnitude_prune_svd";
    assert_eq!("mean".parse::<CombinationType>().expect_err("none of PEFT's").to_string(), words);
    let words = "majoritySignMethod `most`, expected total or frequency";
    assert_eq!("most".parse::<MajoritySign>().expect_err("none of PEFT's").to_string(), words);
    let error = engine
        .add_weighted_adapter("x", &choice(&[("qv", f32::NAN)]), &of("cat"))
        .await
        .expect_err("refused");
    assert_eq!(error.to_string(), "adapter `qv`: weight NaN, expected a number");
}
