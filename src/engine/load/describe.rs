//! What a model is and needs, told before there is any of it: nothing is allocated.
//! Not a loader: weights are neither read nor asked for.

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, Kernels};
use crate::error::Result;
use crate::format::gguf::Header;
use crate::model::{Model, Needs};
use crate::plan::Dtype;

use crate::engine::load::loader::Loader;
use crate::engine::load::loader::{read_config, read_tokenizer};
use crate::engine::load::options::EngineOptions;
use crate::engine::load::room::sizes;
use crate::engine::load::told::Told;

/// A model without weights.
#[derive(Debug)]
pub struct Description {
    /// The architecture, its tensors and plans.
    pub model: Model,
    /// Tokens that the tokenizer has; `None` without one.
    pub tokenizer_tokens: Option<usize>,
    /// What the caller should know of the files.
    pub warnings: Vec<String>,
    options: EngineOptions,
    max_tensor_bytes: u64,
}

impl Description {
    /// Of a model folder's files as a [`Loader`] takes them, on a backend like this one; the
    /// tokenizer may be missing.
    ///
    /// Errors as [`Loader::new`].
    pub fn of_files(
        config: &[u8],
        generation_config: Option<&[u8]>,
        tokenizer: Option<&[u8]>,
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let (options, max_tensor_bytes, backend) = (*options, backend.max_tensor_bytes(), boundless(backend));
        let config = read_config(config, generation_config)?;
        let dtype = options.dtype.unwrap_or(Dtype::F32);
        let Some(tokenizer) = tokenizer else {
            let sizes = sizes(&config, &options, max_tensor_bytes);
            let model = Model::with_types(config, sizes, &|_| dtype)?;
            let warnings = Vec::new();
            return Ok(Self { model, tokenizer_tokens: None, warnings, options, max_tensor_bytes });
        };
        let loader = Loader::prepare(config, read_tokenizer(tokenizer)?, backend, &options, &|_| dtype)?;
        Ok(Self::of_loader(loader, options, max_tensor_bytes))
    }

    /// Of a GGUF file, whose header says all.
    ///
    /// Errors as [`Loader::from_gguf`].
    pub fn of_gguf(
        header: &Header,
        tokenizer: Option<&[u8]>,
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let (max_tensor_bytes, backend) = (backend.max_tensor_bytes(), boundless(backend));
        let loader = Loader::of_gguf(header, tokenizer, backend, options)?;
        Ok(Self::of_loader(loader, *options, max_tensor_bytes))
    }

    fn of_loader(loader: Loader, options: EngineOptions, max_tensor_bytes: u64) -> Self {
        let Loader { model, tokenizer, told: Told { warnings, .. }, .. } = loader;
        Self { model, tokenizer_tokens: Some(tokenizer.vocab_size()), warnings, options, max_tensor_bytes }
    }

    /// What all tensors take if the weights are held as `dtype`.
    ///
    /// Errors with `Memory` if one is past what can be addressed.
    pub fn needs_as(&self, dtype: Dtype) -> Result<Needs> {
        let config = self.model.config.clone();
        let sizes = sizes(&config, &self.options, self.max_tensor_bytes);
        Ok(Model::with_types(config, sizes, &|_| dtype)?.needs())
    }
}

/// The same without an end to its memory, of which a description takes none.
fn boundless(backend: Backend) -> Backend {
    match backend {
        Backend::Cpu(_) => Backend::Cpu(Cpu::with_max_bytes(Kernels::Fast, u64::MAX)),
        Backend::Gpu(_) => backend,
    }
}
