//! A model one can talk to: loading, scoring and generation over one backend.
//! I/O is the caller's; nothing here fetches or opens a file (`folder` apart, native only).

mod adapters;
mod load;
mod plans;
mod temp_lora;
mod text;
mod training;

pub use adapters::adapter::{Adapter, Core, Lead, ModuleDelta, PointDelta, RowDeltas};
pub use adapters::combine::arithmetic::MajoritySign;
pub use adapters::combine::combination::{Arithmetic, Combination, CombinationType};
pub use adapters::files::AdapterFiles;
pub use adapters::loaded::{AdapterInfo, Choice};
pub use adapters::new_lora::{NewLora, Variant};
pub use load::describe::Description;
#[cfg(not(target_arch = "wasm32"))]
pub use load::folder;
pub use load::loader::Loader;
pub use load::room::needs;
pub use temp_lora::{ChunkReport, Kv, Preset, TempEvent, TempLora, TempLoraOptions};
pub use text::generate::{Delta, Finish, Generation, Overflow, Request, Usage};
pub use text::hidden::Pooling;
pub use text::logprobs::TokenLogprobs;
pub use training::memory::TrainingRoom;
pub use training::schedule::Schedule;
pub use training::train::{Optimizer, Step, Window};

use crate::backend::Backend;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::plan::{Dtype, Row};
use crate::tokenizer::Tokenizer;

use adapters::Adapters;
use plans::Plans;
use text::slots::Slots;

/// How much an engine makes room for.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Tokens a sequence may have; by default what the model was made for, at most 2048.
    pub context_length: Option<usize>,
    /// Sequences generated or remembered at once; by default up to 8, as 128 MiB allow.
    pub batch: Option<usize>,
    /// Type of the linear maps, the embedding and the head in memory; by default f32, or, of a GGUF
    /// file, for each the narrowest type that keeps its numbers. A matrix whose columns are no
    /// multiple of 64 stays f32.
    pub dtype: Option<Dtype>,
}

/// A loaded model on a backend.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    tokenizer: Tokenizer,
    backend: Backend,
    plans: Plans,
    adapters: Adapters,
    slots: Slots,
    /// The generation whose rows lie on the device, so that a block continues where the last
    /// one ended without a write.
    rows_of: Option<u64>,
    next_generation: u64,
    /// Which device it is on, counted: what was computed on another is gone.
    device: u64,
    warnings: Vec<String>,
    /// What exported adapters call this base, if it is known.
    base_name: Option<String>,
}

impl Engine {
    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// The tensors and plans.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tells where the base is from, a hub id or a folder's path: exported adapters name it.
    pub fn set_base_name(&mut self, name: &str) {
        self.base_name = Some(name.to_owned()).filter(|name| !name.is_empty());
    }

    /// The text codec.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the caller should know of the model's files: which tensors take more memory than they do there.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where it runs.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Tries the kernels that the model needs with the adapters it has, and those of training if an
    /// adapter is trained; each once. A device may compute wrongly, and nothing else tells.
    ///
    /// Errors with `Device`, naming a kernel that is wrong; or if the device is lost.
    pub async fn check_kernels(&mut self) -> Result<()> {
        self.backend.check_kernels(&plans::every_kernel(&self.model)).await
    }

    /// The same for an adapter that has just been loaded, which is taken off if a kernel of its own is wrong.
    ///
    /// Errors as that does.
    pub async fn check_adapter(&mut self, name: &str) -> Result<()> {
        if let Err(e) = self.check_kernels().await {
            self.delete_adapter(name)?;
            return Err(e);
        }
        Ok(())
    }

    /// Ids of a prompt, with the special tokens its tokenizer puts around a text.
    ///
    /// Errors with `Argument` for a text of no tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(text, true)?;
        if ids.is_empty() {
            ids.extend(self.model.config.bos_token_id);
        }
        if ids.is_empty() {
            return Err(Error::argument("prompt: an empty text, and the model has no token to begin with"));
        }
        Ok(ids)
    }

    /// Ids of a training example, an end token last if the model has one, and how many are the prompt's.
    ///
    /// Errors with `Format` if the vocabulary cannot spell it.
    pub fn encode_example(&self, prompt: &str, completion: &str) -> Result<(Vec<u32>, usize)> {
        let (mut ids, mut given) = self.tokenizer.encode_example(prompt, completion)?;
        if given == 0 {
            ids.splice(0..0, self.model.config.bos_token_id);
            given = usize::from(self.model.config.bos_token_id.is_some());
        }
        ids.extend(self.model.config.eos_token_ids.first());
        Ok((ids, given))
    }

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let v = self.model.config.vocab_size;
        match ids.iter().find(|&&id| id as usize >= v) {
            Some(id) => {
                Err(Error::argument(format!("token id {id}, expected below the vocabulary size {v}")))
            }
            None => Ok(()),
        }
    }

    fn upload_rows(&mut self, rows: &[Row]) {
        self.backend.upload(self.model.state.rows, 0, bytemuck::cast_slice(rows));
    }
}
