//! A small model, its story, and the whole work of a temporary adapter, for the tests of Temp-LoRA.

use std::path::{Path, PathBuf};

use lorakeet::engine::{ChunkReport, Engine, EngineOptions, TempEvent, TempLora, TempLoraOptions, folder};

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The page's small model.
pub(crate) fn open(backend: lorakeet::backend::Backend, options: &EngineOptions) -> Engine {
    folder::open(&repository("www/models/demo"), backend, options, |_, _| {}).expect("a valid model")
}

pub(crate) fn story(engine: &Engine) -> Vec<u32> {
    let text = std::fs::read_to_string(repository("tests/fixtures/training/story.txt")).expect("there");
    engine.encode(&text).expect("text")
}

pub(crate) fn options() -> TempLoraOptions {
    TempLoraOptions {
        rank: 4,
        alpha: 4.0,
        chunk_tokens: 48,
        context_tokens: 32,
        generated_weight: 1.0,
        generated_kl: 0.0,
        replay: 0,
        ..TempLoraOptions::small(512)
    }
}

/// Does all that is asked of a temporary adapter.
pub(crate) async fn finish(engine: &mut Engine, temp: &mut TempLora) -> (Vec<ChunkReport>, Vec<u32>) {
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

pub(crate) async fn evaluate(
    engine: &mut Engine,
    options: TempLoraOptions,
    text: &[u32],
) -> Vec<ChunkReport> {
    let mut temp = engine.begin_temp_lora(options).await.expect("valid");
    engine.temp_learn(&mut temp, text, true).expect("valid");
    let (chunks, _) = finish(engine, &mut temp).await;
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    chunks
}

pub(crate) fn mean(chunks: &[ChunkReport], loss: impl Fn(&ChunkReport) -> Option<f64>) -> f64 {
    let labels: usize = chunks.iter().map(|chunk| chunk.labels).sum();
    chunks.iter().map(|c| loss(c).expect("scored") * c.labels as f64).sum::<f64>() / labels as f64
}
