//! A model and adapters of random numbers, as the files a checkpoint and PEFT folders consist of.
//! Nothing in them says anything: only their sizes and the time they take mean something.

use std::path::Path;

use lorakeet::format::{TensorData, write};
use lorakeet::{Error, Result};
use serde_json::{Value, json};

// SmolLM2-135M's layers, which are 30 over a vocabulary of 49152.
const C: usize = 576;
const F: usize = 1536;
const H: usize = 9;
const K: usize = 3;
const D: usize = 64;

/// How much of SmolLM2-135M a model has, and how large its adapters are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// `L`
    pub(crate) layers: usize,
    /// `V`
    pub(crate) vocab: usize,
    /// `R`
    pub(crate) rank: usize,
}

/// The files of a model folder.
pub(crate) struct ModelFiles {
    pub(crate) config: Vec<u8>,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) weights: Vec<u8>,
}

/// The files of an adapter's folder.
pub struct AdapterFiles {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
}

/// Linear maps of a layer: name, outputs, inputs.
const LINEARS: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", H * D, C),
    ("self_attn.k_proj", K * D, C),
    ("self_attn.v_proj", K * D, C),
    ("self_attn.o_proj", C, H * D),
    ("mlp.gate_proj", F, C),
    ("mlp.up_proj", F, C),
    ("mlp.down_proj", C, F),
];

impl Shape {
    /// The model. Each layer outweighs the embedding in the residual stream, so that the next
    /// token depends on the layers and not only, through the tied head, on the last token.
    pub(crate) fn model(self) -> Result<ModelFiles> {
        let Self { layers, vocab, .. } = self;
        let config = json!({
            "model_type": "llama", "hidden_act": "silu", "hidden_size": C, "intermediate_size": F,
            "num_hidden_layers": layers, "num_attention_heads": H, "num_key_value_heads": K,
            "head_dim": D, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
            "tie_word_embeddings": true, "vocab_size": vocab,
        });
        // Prompts are token ids, and ids without a token show as no text.
        let tokenizer =
            json!({ "version": "1.0", "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] } });
        let mut file = File::new(1);
        file.push("model.embed_tokens.weight".into(), [vocab, C], 0.05);
        for l in 0..layers {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                file.ones(format!("model.layers.{l}.{norm}.weight"), C);
            }
            for (module, outputs, inputs) in LINEARS {
                file.push(format!("model.layers.{l}.{module}.weight"), [outputs, inputs], unit(inputs));
            }
        }
        file.ones("model.norm.weight".into(), C);
        Ok(ModelFiles { config: bytes(&config), tokenizer: bytes(&tokenizer), weights: file.write()? })
    }

    /// Adapter number `index`: LoRA on every linear map but the head, B not zero.
    pub(crate) fn adapter(self, index: usize) -> Result<AdapterFiles> {
        let Self { layers, rank, .. } = self;
        let targets: Vec<_> = LINEARS.iter().filter_map(|(name, ..)| name.split('.').nth(1)).collect();
        let config = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank,
            "target_modules": targets,
        });
        let mut file = File::new(2 + index as u32);
        for l in 0..layers {
            for (module, outputs, inputs) in LINEARS {
                let name = format!("base_model.model.model.layers.{l}.{module}");
                file.push(format!("{name}.lora_A.weight"), [rank, inputs], unit(inputs));
                // A delta of about a quarter of what it is added to.
                file.push(format!("{name}.lora_B.weight"), [outputs, rank], 0.125 * unit(rank));
            }
        }
        Ok(AdapterFiles { config: bytes(&config), weights: file.write()? })
    }

    /// Writes `model/` and an `adapter-<index>/` for each of `adapters` below `folder`.
    pub fn write(self, folder: &Path, adapters: usize) -> Result<()> {
        let ModelFiles { config, tokenizer, weights } = self.model()?;
        let model = folder.join("model");
        put(&model, "config.json", &config)?;
        put(&model, "tokenizer.json", &tokenizer)?;
        put(&model, "model.safetensors", &weights)?;
        for index in 0..adapters {
            let AdapterFiles { config, weights } = self.adapter(index)?;
            let adapter = folder.join(format!("adapter-{index}"));
            put(&adapter, "adapter_config.json", &config)?;
            put(&adapter, "adapter_model.safetensors", &weights)?;
        }
        Ok(())
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes));
    written.map_err(|e| Error::network(format!("cannot write {}: {e}", path.display())))
}

/// Half the width of the uniform distribution under which a sum over `inputs` products keeps
/// the size of its inputs.
fn unit(inputs: usize) -> f32 {
    (3.0 / inputs as f32).sqrt()
}

fn bytes(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

/// Tensors on their way to a safetensors file.
struct File {
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    state: u32,
}

impl File {
    fn new(seed: u32) -> Self {
        Self { tensors: Vec::new(), state: seed.wrapping_mul(0x9e37_79b9) | 1 }
    }

    /// Adds a matrix of numbers uniform in ±size, from a xorshift (Marsaglia 2003).
    fn push(&mut self, name: String, shape: [usize; 2], size: f32) {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            (self.state as f32 / u32::MAX as f32 - 0.5) * 2.0 * size
        };
        let values = (0..shape[0] * shape[1]).map(|_| next()).collect();
        self.tensors.push((name, shape.to_vec(), values));
    }

    fn ones(&mut self, name: String, len: usize) {
        self.tensors.push((name, vec![len], vec![1.0; len]));
    }

    fn write(self) -> Result<Vec<u8>> {
        let list: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), TensorData::F32(values)))
            .collect();
        write(&list, &Default::default())
    }
}
