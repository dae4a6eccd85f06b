//! A model of random numbers in the shape of SmolLM2-135M. Nothing it says means anything: only the time it takes does.

use serde_json::json;

use crate::backend::Backend;
use crate::engine::{Engine, EngineOptions, Loader};
use crate::error::Result;
use crate::format::{SourceDtype, TensorInfo};

const C: usize = 576;
const F: usize = 1536;
const H: usize = 9;
const K: usize = 3;
const D: usize = 64;

/// Numbers made anew; every tensor is read off them, from another place on.
const NOISE: usize = 1 << 20;

/// How much of SmolLM2-135M a model has, which has 30 layers and a vocabulary of 49152.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// `L`
    pub layers: usize,
    /// `V`
    pub vocab: usize,
}

/// A tensor of a [`Shape`].
#[derive(Clone, Debug)]
pub struct Tensor {
    /// As the checkpoint calls it.
    pub name: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Numbers lie within ± this; `None` is all ones.
    pub size: Option<f32>,
}

/// Linear maps of a layer: name, outputs, inputs.
pub const LINEARS: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", H * D, C),
    ("self_attn.k_proj", K * D, C),
    ("self_attn.v_proj", K * D, C),
    ("self_attn.o_proj", C, H * D),
    ("mlp.gate_proj", F, C),
    ("mlp.up_proj", F, C),
    ("mlp.down_proj", C, F),
];

/// Half the width of the uniform distribution under which a sum over `inputs` products keeps the size of its
/// inputs.
pub fn unit(inputs: usize) -> f32 {
    (3.0 / inputs as f32).sqrt()
}

impl Shape {
    /// A `config.json`.
    pub fn config(self) -> Vec<u8> {
        let Self { layers, vocab } = self;
        let config = json!({
            "model_type": "llama", "hidden_act": "silu", "hidden_size": C, "intermediate_size": F,
            "num_hidden_layers": layers, "num_attention_heads": H, "num_key_value_heads": K,
            "head_dim": D, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
            "tie_word_embeddings": true, "vocab_size": vocab,
        });
        config.to_string().into_bytes()
    }

    /// A `tokenizer.json`. Prompts are token ids, and ids without a token show as no text.
    pub fn tokenizer(self) -> Vec<u8> {
        let tokenizer =
            json!({ "version": "1.0", "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] } });
        tokenizer.to_string().into_bytes()
    }

    /// What the weights are. Each layer outweighs the embedding in the residual stream, so that the next token
    /// depends on the layers and not only, through the tied head, on the last token.
    pub fn tensors(self) -> Vec<Tensor> {
        let map = |name: String, outputs, inputs, size| Tensor {
            name,
            shape: vec![outputs, inputs],
            size: Some(size),
        };
        let ones = |name: String| Tensor { name, shape: vec![C], size: None };
        let mut tensors = vec![map("model.embed_tokens.weight".into(), self.vocab, C, 0.05)];
        for l in 0..self.layers {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                tensors.push(ones(format!("model.layers.{l}.{norm}.weight")));
            }
            for (module, outputs, inputs) in LINEARS {
                let name = format!("model.layers.{l}.{module}.weight");
                tensors.push(map(name, outputs, inputs, unit(inputs)));
            }
        }
        tensors.push(ones("model.norm.weight".into()));
        tensors
    }

    /// The model on a device.
    ///
    /// Errors with `Memory`, `Device`.
    pub(crate) async fn open(self, backend: Backend, options: &EngineOptions) -> Result<Engine> {
        let mut loader = Loader::open(&self.config(), None, &self.tokenizer(), backend, options).await?;
        let noise = Noise::new(1).take(NOISE);
        let mut numbers = Vec::new();
        for (place, Tensor { name, shape, size }) in self.tensors().into_iter().enumerate() {
            let bytes = 4 * shape.iter().product::<usize>() as u64;
            let info = TensorInfo { name, dtype: SourceDtype::F32, shape, start: 0, end: bytes };
            for piece in loader.pieces(&info)? {
                let len = (piece.end - piece.start) as usize / 4;
                let from = place * 7919 + piece.start as usize / 4;
                let number = |i: usize| size.map_or(1.0, |size| size * noise[(from + i) % NOISE]);
                numbers.clear();
                numbers.extend((0..len).map(number));
                loader.load(&piece, bytemuck::cast_slice(&numbers))?;
            }
        }
        loader.finish()
    }
}

/// Numbers uniform in ±1, from a xorshift (Marsaglia 2003).
#[derive(Clone, Debug)]
pub struct Noise(u32);

impl Noise {
    /// Other numbers for each seed.
    pub fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// The next ones.
    pub fn take(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            (self.0 as f32 / u32::MAX as f32 - 0.5) * 2.0
        };
        (0..n).map(|_| next()).collect()
    }
}
