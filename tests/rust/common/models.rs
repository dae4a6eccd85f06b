//! The tiny checkpoints of `tests/fixtures/models`, compiled in so that browsers see them too.

use lorakeet::backend::Backend;
use lorakeet::engine::{Engine, EngineOptions, Loader};
use lorakeet::error::Result;
use lorakeet::format::safetensors::Header;

/// A model folder in memory.
pub(crate) struct ModelFiles {
    pub(crate) name: &'static str,
    pub(crate) config: &'static [u8],
    pub(crate) tokenizer: &'static [u8],
    pub(crate) weights: &'static [&'static [u8]],
    pub(crate) reference: &'static [u8],
}

macro_rules! model {
    ($name:literal, $($shard:literal),+) => {
        ModelFiles {
            name: $name,
            config: include_bytes!(concat!("../../fixtures/models/", $name, "/config.json")),
            tokenizer: include_bytes!(concat!("../../fixtures/models/", $name, "/tokenizer.json")),
            weights: &[$(include_bytes!(concat!("../../fixtures/models/", $name, "/", $shard))),+],
            reference: include_bytes!(concat!("../../fixtures/models/", $name, "/reference.safetensors")),
        }
    };
}

/// Llama 3 scaling, grouped queries, a head of its own.
pub(crate) const LLAMA: ModelFiles = model!("llama", "model.safetensors");
/// One per family and quirk.
pub(crate) const MODELS: &[ModelFiles] = &[
    LLAMA,
    // Tied, with biases everywhere, bf16 in two shards.
    model!("llama-tied", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    model!("mistral", "model.safetensors"),
    model!("qwen2", "model.safetensors"),
    model!("qwen2-window", "model.safetensors"),
    model!("gpt2", "model.safetensors"),
    model!("qwen3", "model.safetensors"),
    model!("gemma", "model.safetensors"),
    model!("gemma2", "model.safetensors"),
    model!("gemma3", "model.safetensors"),
    model!("smollm3", "model.safetensors"),
    model!("granite", "model.safetensors"),
    model!("olmo2", "model.safetensors"),
    model!("phi3", "model.safetensors"),
    model!("phi", "model.safetensors"),
    model!("stablelm", "model.safetensors"),
    model!("stablelm-parallel", "model.safetensors"),
    model!("gpt_neox", "model.safetensors"),
    model!("gpt_neox-serial", "model.safetensors"),
];

/// Of families whose every part one of the above has too: judged by logits, greedy text, adapters and gradients, outside
/// browsers.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const MORE: &[ModelFiles] = &[
    model!("starcoder2", "model.safetensors"),
    model!("gpt_bigcode", "model.safetensors"),
    model!("gpt_bigcode-heads", "model.safetensors"),
    model!("gptj", "model.safetensors"),
    model!("cohere", "model.safetensors"),
    model!("cohere2", "model.safetensors"),
    model!("ministral3", "model.safetensors"),
];

#[cfg(target_arch = "wasm32")]
pub(crate) const MORE: &[ModelFiles] = &[];

/// All of the first; in a browser, whose GPU is slow, those with every op among them.
pub(crate) fn models() -> impl Iterator<Item = &'static ModelFiles> {
    let in_browsers = ["llama", "qwen2-window", "gpt2", "qwen3", "gemma2", "gpt_neox"];
    MODELS.iter().filter(move |files| !cfg!(target_arch = "wasm32") || in_browsers.contains(&files.name))
}

impl ModelFiles {
    pub(crate) fn open(&self, backend: Backend, options: &EngineOptions) -> Result<Engine> {
        self.open_as(self.config, backend, options)
    }

    pub(crate) fn open_as(&self, config: &[u8], backend: Backend, options: &EngineOptions) -> Result<Engine> {
        self.load(config, backend, options)?.finish()
    }

    pub(crate) fn load(&self, config: &[u8], backend: Backend, options: &EngineOptions) -> Result<Loader> {
        let mut loader = Loader::new(config, None, self.tokenizer, backend, options)?;
        for file in self.weights {
            load(&mut loader, file)?;
        }
        Ok(loader)
    }
}

/// Loads a whole safetensors file.
pub(crate) fn load(loader: &mut Loader, file: &[u8]) -> Result<()> {
    for info in &Header::from_file_bytes(file)?.tensors {
        for piece in loader.pieces(info)? {
            loader.load(&piece, piece.bytes_in(file)?)?;
        }
    }
    Ok(())
}
