//! SmolLM2-135M-Instruct as published for llama.cpp: logits, texts and training are transformers' of the same numbers.
//! Not a test of formats, which small files are for; `tools/real_model.py` fetches this one.

use crate::common::real;
use std::path::PathBuf;

use crate::common::{Fixture, Tolerance, assert_close, gpu, misfit};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{
    Engine, EngineOptions, Finish, NewLora, Optimizer, Request, TrainingRoom, Variant, Window, folder,
};

const REFERENCE: &[u8] = include_bytes!("../fixtures/real/smollm2.safetensors");
const QUESTION: &str = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
    <|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";

/// SmolLM2 as published for llama.cpp.
fn smollm2() -> Option<PathBuf> {
    real::fetched("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "python3 tools/real_model.py")
}

fn open(backend: Backend) -> Option<Engine> {
    let options = EngineOptions { context_length: Some(256), batch: Some(1), ..EngineOptions::default() };
    Some(folder::open(&smollm2()?, backend, &options, |_, _| {}).expect("a model that loads"))
}

fn cpu(kernels: Kernels) -> Backend {
    Backend::Cpu(Cpu::new(kernels))
}

/// Logits of the fixture's ids against its own.
fn check(what: &str, logits: &[f32], abs: f32) {
    let (fixture, v) = (Fixture::new(REFERENCE), 49_152);
    let tolerance = Tolerance { abs, rel: 0.0 };
    let rows: Vec<&[f32]> = logits.chunks_exact(v).collect();
    let [top_ids, column_ids] = ["top_ids", "column_ids"].map(|name| fixture.ids(name));
    let [top, columns, sums] = ["top_logits", "columns", "log_sum_exp"].map(|name| fixture.f32(name));
    let (n, columns_) = (top_ids.len() / sums.len(), column_ids.len());
    let pick = |row: &[f32], ids: &[u32]| ids.iter().map(|&id| row[id as usize]).collect::<Vec<_>>();
    assert_eq!(rows.len(), sums.len(), "{what}");
    for (row, t) in rows.iter().zip(0..) {
        let what = format!("{what}, position {t}");
        let [ids, want] = [&top_ids[t * n..][..n], &column_ids[..]];
        assert_close(&what, &pick(row, ids), &top[t * n..][..n], tolerance);
        assert_close(&what, &pick(row, want), &columns[t * columns_..][..columns_], tolerance);
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        assert_close(&what, &[sum.ln() as f32], &sums[t..=t], tolerance);
        // Nothing else is larger.
        let least = top[t * n + n - 1] + abs;
        assert!(row.iter().filter(|x| **x > least).count() < n, "{what}");
    }
    // The comparer tells positions apart.
    let other = pick(rows[0], &top_ids[n..][..n]);
    assert!(misfit(&other, &top[n..][..n], tolerance).is_some());
}

#[pollster::test]
async fn logits_are_transformers() {
    let ids = Fixture::new(REFERENCE).ids("input_ids");
    assert_eq!(ids.len(), 256);
    let Some(mut engine) = open(cpu(Kernels::Fast)) else { return };
    let held: Vec<_> = engine.model().weights.held().into_iter().collect();
    let (embedding, maps, norms) = (49_152 * 576, 106_168_320, 61 * 576);
    assert_eq!(held, [(Dtype::Q8, embedding), (Dtype::Q4_1, maps)]);
    assert_eq!(engine.warnings(), [""; 0]);
    // As many bytes as in the file, a fifth of what the same numbers take as f32.
    let bytes = engine.model().needs().weights;
    assert_eq!(bytes, (embedding / 32 * 34 + maps / 32 * 20 + norms * 4) as u64);
    assert_eq!((bytes, 4 * engine.model().weights.parameters()), (96_576_768, 538_060_032));
    check("cpu", &engine.logits(&ids).await.expect("it fits"), 1e-4);
    drop(engine);
    let Some(mut engine) = open(cpu(Kernels::Rounded)) else { return };
    check("cpu, rounded", &engine.logits(&ids).await.expect("it fits"), 8e-3);
    drop(engine);
    let Some(gpu) = gpu().await else { return };
    let Some(mut engine) = open(gpu) else { return };
    check("gpu", &engine.logits(&ids).await.expect("it fits"), 1e-3);
}

#[pollster::test]
async fn texts_are_transformers() {
    for kernels in [Kernels::Fast, Kernels::Rounded] {
        let Some(mut engine) = open(cpu(kernels)) else { return };
        texts(&mut engine).await;
    }
}

async fn texts(engine: &mut Engine) {
    let fixture = Fixture::new(REFERENCE);
    for (prompt, name, text) in [
        ("The capital of France is", "continued", " Paris.\n\nThe answer is: 2018-01-22 12:12:53."),
        (QUESTION, "answered", "The capital of France is Paris."),
    ] {
        let prompt = engine.encode(prompt).expect("a text");
        let mut generation = engine.start(&[Request::greedy(prompt, 60)]).expect("valid");
        let (mut ids, mut got, mut finish) = (Vec::new(), String::new(), None);
        while !generation.is_finished() {
            for delta in engine.next(&mut generation).await.expect("works") {
                ids.extend(delta.tokens);
                got += &delta.text;
                finish = delta.finish;
            }
        }
        engine.end(generation);
        assert_eq!((got.as_str(), finish), (text, Some(Finish::Stop)), "{name}");
        // The last of the fixture's is the token that ends a text.
        let want = fixture.ids(name);
        assert_eq!(ids[..want.len() - 1], want[..want.len() - 1], "{name}");
    }
}

/// Steps of AdamW on an adapter on all linear maps, which begins with the numbers that PyTorch draws from the seed.
#[pollster::test]
async fn training_is_pefts() {
    let fixture = Fixture::new(include_bytes!("../fixtures/real/smollm2_training.safetensors"));
    let (ids, want) = (fixture.ids("input_ids"), fixture.f32("losses"));
    let Some(mut engine) = open(cpu(Kernels::Fast)) else { return };
    let lora = NewLora { variant: Variant::Lora, rank: 8, alpha: 16.0, target_modules: vec![], seed: 0 };
    engine.new_lora("x", &lora).await.expect("fits");
    let room = TrainingRoom { window: ids.len(), memory_limit: None };
    engine.begin_training("x", Optimizer::default(), room).await.expect("a plain LoRA");
    let (on, mut losses) = (vec![("x".to_owned(), 1.0)], Vec::new());
    for _ in &want {
        let window = Window::new(ids.clone(), 1);
        losses.push(engine.train_step(vec![window], &on, 1e-3).await.expect("works") as f32);
    }
    assert!(want[2] < 0.8 * want[0], "they fall");
    // Other first numbers of A change the losses by ten times as much.
    assert_close("losses", &losses, &want, Tolerance { abs: 0.0, rel: 5e-5 });
}
