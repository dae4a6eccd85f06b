//! A model and adapters of random numbers, as the files a checkpoint and PEFT folders consist of.
//! Nothing in them says anything: only their sizes and the time they take mean something.

use std::path::Path;

use lorakeet::bench::{LINEARS, Noise, Shape as ModelShape, Tensor, unit};
use lorakeet::format::{TensorData, write};
use lorakeet::{Error, Result};
use serde_json::{Value, json};

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
pub(crate) struct AdapterFiles {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
}

impl Shape {
    /// The model.
    pub(crate) fn model(self) -> Result<ModelFiles> {
        let model = ModelShape { layers: self.layers, vocab: self.vocab };
        let mut file = File::new(1);
        for Tensor { name, shape, size } in model.tensors() {
            match size {
                Some(size) => file.push(name, [shape[0], shape[1]], size),
                None => file.ones(name, shape[0]),
            }
        }
        Ok(ModelFiles { config: model.config(), tokenizer: model.tokenizer(), weights: file.write()? })
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
    pub(crate) fn write(self, folder: &Path, adapters: usize) -> Result<()> {
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

fn bytes(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

/// Tensors on their way to a safetensors file.
struct File {
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    noise: Noise,
}

impl File {
    fn new(seed: u32) -> Self {
        Self { tensors: Vec::new(), noise: Noise::new(seed) }
    }

    /// Adds a matrix of numbers uniform in ±size.
    fn push(&mut self, name: String, shape: [usize; 2], size: f32) {
        let mut values = self.noise.take(shape[0] * shape[1]);
        values.iter_mut().for_each(|value| *value *= size);
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
