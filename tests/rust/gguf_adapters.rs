//! GGUF LoRAs on whole models: logits as PEFT computes them for the folder each was made of, or
//! the refusal that is right. Not the format's lies, which are `gguf.rs`'s.

use std::path::{Path, PathBuf};

use crate::common::gguf::GgufFile;
use crate::common::{Fixture, Tolerance, assert_close, backends, misfit};
use lorakeet::ErrorKind;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{Adapter, AdapterInfo, Engine, EngineOptions, ModuleDelta, folder};
use lorakeet::format::gguf::Header;
use lorakeet::widen::Blocks;

const RSLORA_16: &str = "scale alpha/rank: its metadata says \"Rslora R16\"; the conversion of an rsLoRA adapter to \
    GGUF loses a factor of √16 = 4.000, so that weight 4.000 is right; the PEFT folder is exact";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

fn open_on(model: &Path, backend: Backend) -> Engine {
    let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
    folder::open(model, backend, &options, |_, _| {}).expect("a valid model")
}

fn cpu(model: &str) -> Engine {
    open_on(&repository(&format!("tests/fixtures/models/{model}")), Backend::Cpu(Cpu::new(Kernels::Fast)))
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(repository(&format!("tests/fixtures/gguf/{name}.gguf")))
        .expect("rerun tests/fixtures/generate.py gguf")
}

async fn logits(engine: &mut Engine, ids: &[u32], weight: f32) -> Vec<f32> {
    engine.logits_with(ids, Some(&vec![("x".to_owned(), weight)])).await.expect("it fits")
}

/// Loads `file` and compares its logits under `weight` with tensor `want` of a folder's reference.
async fn check(
    what: &str,
    engine: &mut Engine,
    file: &[u8],
    weight: f32,
    (reference, want): (&Path, &str),
) -> AdapterInfo {
    let info = engine.load_gguf_adapter("x", file).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let reference = std::fs::read(reference.join("reference.safetensors")).expect("there");
    let reference = Fixture::new(&reference);
    let ids = reference.ids("input_ids");
    let got = logits(engine, &ids, weight).await;
    assert_close(what, &got, &reference.f32(want), tolerance(what.rsplit(' ').next().expect("a backend")));
    let off = logits(engine, &ids, 0.0).await;
    assert!(misfit(&got, &off, Tolerance { abs: 0.05, rel: 0.0 }).is_some(), "{what}: does nothing");
    engine.delete_adapter("x").expect("idle");
    info
}

#[pollster::test]
async fn fixtures_equal_the_folders_they_were_made_of() {
    for (name, model, kind) in [
        ("llama-all-linear", "llama", "all-linear"),
        ("llama-f16", "llama", "f16"),
        ("llama-bf16", "llama", "bf16"),
        ("qwen2-all-linear", "qwen2", "all-linear"),
        // Embedding and head, of a base that ties them too.
        ("llama-embed-head", "llama", "embed-head"),
        ("qwen2-embed-head", "qwen2", "embed-head"),
        ("gpt2-all-linear", "gpt2", "all-linear"),
        // Rows of B lie part by part, and head by head in the folder.
        ("gpt_neox-all-linear", "gpt_neox", "all-linear"),
    ] {
        let reference = repository(&format!("tests/fixtures/adapters/{model}/{kind}"));
        for (backend, backend_) in backends().await {
            let mut engine = open_on(&repository(&format!("tests/fixtures/models/{model}")), backend_);
            let what = format!("{name} on {backend}");
            let info = check(&what, &mut engine, &file(name), 1.0, (&reference, "logits")).await;
            let said = info.warnings.join(" ");
            assert!(said.contains("its metadata cannot say whether it was rsLoRA"), "{what}: {said}");
        }
    }
}

/// llama.cpp's names become those that the folder has.
#[pollster::test]
async fn modules_are_named_as_the_folder_names_them() {
    for (model, kind) in [
        ("llama", "all-linear"),
        ("qwen2", "all-linear"),
        ("gpt2", "all-linear"),
        ("gpt_neox", "all-linear"),
        ("llama", "embed-head"),
        ("qwen2", "embed-head"),
    ] {
        let mut engine = cpu(model);
        let path = repository(&format!("tests/fixtures/adapters/{model}/{kind}"));
        let mut peft = folder::load_adapter(&mut engine, "x", &path).await.expect("valid").modules;
        let mut gguf =
            engine.load_gguf_adapter("y", &file(&format!("{model}-{kind}"))).await.expect("valid").modules;
        peft.sort();
        gguf.sort();
        assert_eq!(gguf, peft);
    }
}

/// Never corrected silently: the scale stays wrong by √R, and the warning says how to mend it.
#[pollster::test]
async fn an_rslora_file_is_told_by_its_name() {
    let (mut engine, file) = (cpu("llama"), file("llama-rslora"));
    let reference = repository("tests/fixtures/adapters/llama/rslora");
    let info = engine.load_gguf_adapter("x", &file).await.expect("valid");
    let root = (info.rank as f32).sqrt();
    assert!(info.warnings[0].contains("its metadata says \"Rslora\""), "{:?}", info.warnings);
    assert!(info.warnings[0].contains(&format!("weight {root:.3} is right")), "{:?}", info.warnings);
    let bytes = std::fs::read(reference.join("reference.safetensors")).expect("there");
    let fixture = Fixture::new(&bytes);
    let alone = logits(&mut engine, &fixture.ids("input_ids"), 1.0).await;
    assert!(misfit(&alone, &fixture.f32("logits"), Tolerance { abs: 0.1, rel: 0.0 }).is_some());
    check("rslora, its weight mended, on fast", &mut engine, &file, root, (&reference, "logits")).await;
}

#[track_caller]
fn refused(engine: &mut Engine, file: &[u8], kind: ErrorKind, words: &str) {
    let error = pollster::block_on(engine.load_gguf_adapter("x", file)).expect_err("refused");
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
    assert_eq!(engine.list_adapters().count(), 0);
}

#[test]
fn what_does_not_fit_is_named() {
    let mut llama = cpu("llama");
    refused(
        &mut llama,
        &file("qwen2-all-linear"),
        ErrorKind::Mismatch,
        "GGUF adapter: general.architecture is `qwen2`, this base is `llama`",
    );
    let factors = |name: &str, a: (usize, usize), b: (usize, usize)| {
        let zeros = |(rows, cols)| vec![0.0; rows * cols];
        let file = adapter("llama").matrix(&format!("{name}.lora_a"), a.1, &zeros(a));
        file.matrix(&format!("{name}.lora_b"), b.1, &zeros(b)).bytes()
    };
    let words = "tensor `position_embd.weight.lora_a`: LoRA on embeddings of positions is not supported";
    refused(&mut llama, &factors("position_embd.weight", (64, 2), (42, 2)), ErrorKind::Unsupported, words);
    // The embedding's A has a row for each token.
    refused(
        &mut llama,
        &factors("token_embd.weight", (2, 300), (42, 2)),
        ErrorKind::Mismatch,
        "tensors `token_embd.weight.lora_a` [2, 300] and `token_embd.weight.lora_b` [42, 2]: expected (V, R) and (C_out, R), R above 0",
    );
    refused(
        &mut llama,
        &factors("token_embd.weight", (299, 2), (42, 2)),
        ErrorKind::Mismatch,
        "tensors `token_embd.weight.lora_a` and `.lora_b`: a map 299 -> 42, expected 300 -> 42",
    );
    refused(
        &mut cpu("qwen2-window"),
        &file("qwen2-all-linear"),
        ErrorKind::Mismatch,
        "tensors `blk.0.attn_k.weight.lora_a` and `.lora_b`: a map 36 -> 12, expected 32 -> 16",
    );
    refused(
        &mut cpu("mistral"),
        &file("llama-f16"),
        ErrorKind::Mismatch,
        "tensor `blk.2.attn_q.weight.lora_a`: this base model has no such linear map",
    );
    for (stem, module) in
        [("attn_qkv", "llama"), ("attn_q", "gpt2"), ("ffn_gate", "gpt2"), ("attn_norm", "llama")]
    {
        let name = format!("blk.0.{stem}.weight");
        let lora = adapter(module).matrix(&format!("{name}.lora_a"), 3, &[1.0; 6]).matrix(
            &format!("{name}.lora_b"),
            2,
            &[1.0; 8],
        );
        let words = format!("tensor `{name}.lora_a`: this base model has no such linear map");
        refused(&mut cpu(module), &lora.bytes(), ErrorKind::Mismatch, &words);
    }
    let nan = adapter("llama").matrix("output.weight.lora_a", 42, &[f32::NAN; 84]).matrix(
        "output.weight.lora_b",
        2,
        &[1.0; 600],
    );
    refused(&mut llama, &nan.bytes(), ErrorKind::Format, "tensor `output.weight.lora_a`: holds NaN");
}

/// An adapter of this architecture, still without tensors.
fn adapter(architecture: &str) -> GgufFile {
    let file = GgufFile::default().text("general.architecture", architecture).text("general.type", "adapter");
    file.text("adapter.type", "lora").f32("adapter.lora.alpha", 5.0)
}

/// GPT-2 files by tools that do not exchange the factors of Conv1D, as llama.cpp's loader wants
/// them, square maps included.
#[pollster::test]
async fn upright_factors_of_gpt2_are_seen() {
    let bytes = file("gpt2-all-linear");
    let header = Header::from_file_bytes(&bytes).expect("valid");
    let alpha = header.metadata["adapter.lora.alpha"].as_float().expect("there") as f32;
    let mut upright =
        GgufFile::default().text("general.architecture", "gpt2").text("general.type", "adapter");
    upright = upright.text("adapter.type", "lora").f32("adapter.lora.alpha", alpha);
    for info in &header.tensors {
        let [rows, cols] = info.shape[..] else { panic!("`{}` is a matrix", info.name) };
        let x = info.read_f32(info.bytes_in(&bytes).expect("in the file")).expect("f32");
        let turned: Vec<f32> = (0..cols).flat_map(|c| x.iter().skip(c).step_by(cols).copied()).collect();
        let (base, factor) = info.name.rsplit_once('_').expect("lora_a or lora_b");
        upright = upright.matrix(&format!("{base}_{}", if factor == "a" { "b" } else { "a" }), rows, &turned);
    }
    let reference = repository("tests/fixtures/adapters/gpt2/all-linear");
    check("upright on fast", &mut cpu("gpt2"), &upright.bytes(), 1.0, (&reference, "logits")).await;
}

/// Where only GPT-2's square maps are adapted nothing shows that the factors are exchanged: the
/// converter is believed, and the caller told.
#[pollster::test]
async fn square_maps_alone_are_read_as_the_converter_writes_them() {
    let (c, mut engine) = (40, cpu("gpt2"));
    let values = |step: usize| (0..2 * c).map(|i| ((i * step % 23) as f32 - 11.0) / 20.0).collect::<Vec<_>>();
    let (a, b) = (values(7), values(5)); // (R, C) and (C, R)
    let turned = |x: &[f32], cols: usize| -> Vec<f32> {
        (0..cols).flat_map(|col| x.iter().skip(col).step_by(cols).copied()).collect()
    };
    let name = "blk.1.attn_output.weight";
    let lora = adapter("gpt2").matrix(&format!("{name}.lora_a"), c, &turned(&b, 2)).matrix(
        &format!("{name}.lora_b"),
        2,
        &turned(&a, c),
    );
    let info = engine.load_gguf_adapter("x", &lora.bytes()).await.expect("valid");
    assert!(info.warnings[1].starts_with("square maps only: lora_a and lora_b are taken to be exchanged"));
    let (module, b) =
        ("transformer.h.1.attn.c_proj".to_owned(), b.iter().map(|b| b * 2.5).collect::<Vec<_>>());
    let delta = ModuleDelta { module, rank: 2, a: a.into(), b: b.into(), ..ModuleDelta::default() };
    engine.add_adapter("y", Adapter { deltas: vec![delta], ..Adapter::default() }).expect("it fits");
    let under = |name: &str| Some(vec![(name.to_owned(), 1.0)]);
    let x = engine.logits_with(&[3, 1, 4], under("x").as_ref()).await.expect("it fits");
    assert_eq!(x, engine.logits_with(&[3, 1, 4], under("y").as_ref()).await.expect("it fits"));
    assert_ne!(x, engine.logits(&[3, 1, 4]).await.expect("it fits"));
}

/// `output` is the head, whose rows nothing turns or interleaves.
#[pollster::test]
async fn the_head_is_adapted() {
    for (model, c) in [("llama", 42), ("gpt2", 40)] {
        let mut engine = cpu(model);
        let [a, b] =
            [c * 2, 300 * 2].map(|n| (0..n).map(|i| ((i * 37 % 19) as f32 - 9.0) / 40.0).collect::<Vec<_>>());
        let lora = adapter(model).matrix("output.weight.lora_a", c, &a).matrix("output.weight.lora_b", 2, &b);
        engine.load_gguf_adapter("x", &lora.bytes()).await.expect("valid");
        let (a, b) = (a.into(), b.into());
        let delta =
            ModuleDelta { module: "lm_head".to_owned(), rank: 2, a, b, scale: 2.5, ..ModuleDelta::default() };
        engine.add_adapter("y", Adapter { deltas: vec![delta], ..Adapter::default() }).expect("it fits");
        let ids = [3, 1, 4, 1, 5];
        let under = |name: &str| vec![(name.to_owned(), 1.0)];
        let x = engine.logits_with(&ids, Some(&under("x"))).await.expect("it fits");
        let y = engine.logits_with(&ids, Some(&under("y"))).await.expect("it fits");
        let base = engine.logits(&ids).await.expect("it fits");
        assert_eq!(x, y);
        assert_ne!(x, base);
    }
}

/// Factors in blocks are those that the blocks stand for.
#[pollster::test]
async fn factors_may_be_quantised() {
    let mut engine = cpu("../gguf/models/llama-mixed.gguf");
    let mut scale = [0x00, 0x1c]; // 2⁻⁸
    let mut code = 0u8;
    let mut next = |_| {
        code = code.wrapping_mul(5).wrapping_add(37);
        code
    };
    let mut bytes = |n: usize| (0..n).map(&mut next).collect::<Vec<u8>>();
    // A (2, 64) in blocks of 32 and A (2, 256) in blocks of 256.
    let q8: Vec<u8> = (0..4).flat_map(|_| [&scale[..], &bytes(32)].concat()).collect();
    scale[1] = 0x08;
    let q6: Vec<u8> = (0..2).flat_map(|_| [&bytes(208)[..], &scale[..]].concat()).collect();
    let names = ["blk.0.attn_output.weight", "blk.0.ffn_down.weight"];
    let b: Vec<f32> = (0..64 * 2).map(|i| ((i * 37 % 19) as f32 - 9.0) / 40.0).collect();
    let stored = adapter("llama").stored(&format!("{}.lora_a", names[0]), &[64, 2], 8, &q8).stored(
        &format!("{}.lora_a", names[1]),
        &[256, 2],
        14,
        &q6,
    );
    let widened = adapter("llama")
        .matrix(&format!("{}.lora_a", names[0]), 64, &Blocks::Q8_0.widen(&q8))
        .matrix(&format!("{}.lora_a", names[1]), 256, &Blocks::Q6K.widen(&q6));
    let [stored, widened] = [stored, widened].map(|file| {
        names.iter().fold(file, |file, name| file.matrix(&format!("{name}.lora_b"), 2, &b)).bytes()
    });
    let mut under = async |file: &[u8]| {
        engine.load_gguf_adapter("x", file).await.expect("valid");
        logits(&mut engine, &[3, 1, 4], 1.0).await
    };
    let (got, want) = (under(&stored).await, under(&widened).await);
    assert_eq!(got, want);
    assert!(want.iter().all(|x| x.is_finite()));
    let base = engine.logits(&[3, 1, 4]).await.expect("it fits");
    assert!(misfit(&base, &want, Tolerance { abs: 0.05, rel: 0.0 }).is_some(), "does nothing");
    let rare = adapter("llama").stored(&format!("{}.lora_a", names[1]), &[256, 2], 16, &[0; 132]);
    let rare = rare.matrix(&format!("{}.lora_b", names[1]), 2, &b);
    let words = "tensor `blk.0.ffn_down.weight.lora_a`: dtype IQ2_XXS, expected F32, F16 or BF16";
    let error = engine.load_gguf_adapter("y", &rare.bytes()).await.expect_err("refused");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Mismatch, words));
}

/// What came from a GGUF file goes out as a PEFT folder, the embedding under PEFT's names.
#[pollster::test]
async fn an_embedding_is_exported() {
    let mut engine = cpu("llama");
    engine.load_gguf_adapter("x", &file("llama-embed-head")).await.expect("valid");
    let files = engine.export_adapter("x").await.expect("a LoRA");
    let reference = repository("tests/fixtures/adapters/llama/embed-head");
    let peft = std::fs::read(reference.join("adapter_model.safetensors")).expect("there");
    let names = |file: &[u8]| {
        let header = lorakeet::format::safetensors::Header::from_file_bytes(file).expect("valid");
        let mut names: Vec<String> = header.tensors.into_iter().map(|tensor| tensor.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&files.weights), names(&peft));
    let before = logits(&mut engine, &[3, 1, 4], 1.0).await;
    engine.load_adapter("x", &files.config, &files.weights).await.expect("its own");
    let after = logits(&mut engine, &[3, 1, 4], 1.0).await;
    assert_close("exported", &after, &before, Tolerance { abs: 1e-5, rel: 1e-5 });
}

/// Files made of adapters that were trained with PEFT on a real model.
#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn trained_adapters() {
    let data = repository("../shared/data");
    let gguf =
        |name: &str| std::fs::read(data.join(format!("models/gguf/lora-{name}-f32.gguf"))).expect("there");
    for (backend, backend_) in backends().await {
        let mut engine = open_on(&data.join("models/stories260K"), backend_);
        for name in ["plain-qv-r8", "all-linear-r16", "mlp-only-r2-alpha-odd", "r1"] {
            let reference = data.join("adapters").join(name);
            let what = format!("{name} on {backend}");
            let info = check(&what, &mut engine, &gguf(name), 1.0, (&reference, "adapter_logits")).await;
            assert_eq!(info.warnings.is_empty(), name == "r1", "{what}: {:?}", info.warnings);
            assert!(
                !info.warnings.iter().any(|warning| warning.contains("says")),
                "{what}: {:?}",
                info.warnings
            );
        }
        let file = gguf("rslora-r16-WRONGSCALE-converter-drops-rslora");
        let reference = data.join("adapters/rslora-r16");
        let what = format!("rslora-r16, its weight mended, on {backend}");
        let info = check(&what, &mut engine, &file, 4.0, (&reference, "adapter_logits")).await;
        assert_eq!(info.warnings, [RSLORA_16]);
    }
}
