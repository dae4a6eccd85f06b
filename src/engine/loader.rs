//! Building an engine piece by piece: the caller reads bytes, this says which and where to.

use crate::backend::Backend;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::format::safetensors::TensorInfo;
use crate::model::{MAX_ROWS, Model, Sizes};
use crate::plan::TensorId;
use crate::tokenizer::Tokenizer;

use super::adapters::Adapters;
use super::plans::{Kind, Plans};
use super::slots::Slots;
use super::{Engine, EngineOptions};

/// Largest piece of a tensor asked for at once, elements. The memory that loading needs above
/// the device's own copy is a few times this.
const PIECE_ELEMENTS: usize = 2 << 20;

/// Context chosen where the caller names none.
const DEFAULT_CONTEXT: usize = 2048;
/// Sequences chosen where the caller names no number, as far as their cache fits.
const DEFAULT_SLOTS: u64 = 8;
const DEFAULT_CACHE_BYTES: u64 = 128 << 20;

/// A model whose weights are still arriving.
#[derive(Debug)]
pub struct Loader {
    model: Model,
    tokenizer: Tokenizer,
    backend: Backend,
}

impl Loader {
    /// Reads the small files and makes room on the backend. `generation_config`, where there is
    /// one, names the tokens that end a text.
    ///
    /// Errors with `Format` or `Unsupported` for the files, `Mismatch` if the tokenizer has
    /// tokens the model has no embedding for, `Argument` for the options, `Memory`.
    pub fn new(
        config: &[u8],
        generation_config: Option<&[u8]>,
        tokenizer: &[u8],
        mut backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let mut config = ModelConfig::from_json(config)?;
        if let Some(json) = generation_config {
            config.read_generation_config(json)?;
        }
        let tokenizer = Tokenizer::from_json(tokenizer)?;
        let (has, embeds) = (tokenizer.vocab_size(), config.vocab_size);
        if has > embeds {
            return Err(Error::mismatch(format!(
                "tokenizer.json: {has} tokens, expected at most vocab_size {embeds} of config.json"
            )));
        }
        let context = options.context_length.unwrap_or(config.max_position_embeddings.min(DEFAULT_CONTEXT));
        let slots = match options.batch {
            Some(n) => n,
            None => {
                let fit = DEFAULT_CACHE_BYTES / Model::slot_bytes(&config, context).max(1);
                fit.clamp(1, DEFAULT_SLOTS) as usize
            }
        };
        let sizes = Sizes { context, slots, max_tensor_bytes: backend.max_tensor_bytes() };
        let model = Model::new(config, sizes)?;
        backend.allocate(&model.tensors)?;
        for (id, values) in model.constants() {
            backend.upload(id, 0, bytemuck::cast_slice(&values));
        }
        Ok(Self { model, tokenizer, backend })
    }

    /// The pieces in which tensor `info` is to be [`load`](Self::load)ed, in order; none if the
    /// model has no use for it.
    ///
    /// Errors with `Mismatch` if it does not belong to this architecture.
    pub fn pieces(&self, info: &TensorInfo) -> Result<Vec<TensorInfo>> {
        if !self.model.weights.expects(&info.name, &info.shape)? {
            return Ok(Vec::new());
        }
        let elements: usize = info.shape.iter().product();
        if elements == 0 || self.model.weights.wants_whole(&info.name) {
            return Ok(vec![info.clone()]);
        }
        let size = info.byte_len() / elements as u64;
        let piece = |first: usize| {
            let n = PIECE_ELEMENTS.min(elements - first);
            let start = info.start + first as u64 * size;
            TensorInfo { shape: vec![n], start, end: start + n as u64 * size, ..info.clone() }
        };
        Ok((0..elements).step_by(PIECE_ELEMENTS).map(piece).collect())
    }

    /// Takes the bytes of one piece.
    ///
    /// Errors with `Format` if their type cannot be read or their number is wrong.
    pub fn load(&mut self, piece: &TensorInfo, bytes: &[u8]) -> Result<()> {
        let values = piece.read_f32(bytes)?;
        let backend = &mut self.backend;
        let write = |id: TensorId, offset: usize, values: &[f32]| {
            backend.upload(id, offset, bytemuck::cast_slice(values));
        };
        self.model.weights.place(&piece.name, &values, write);
        Ok(())
    }

    /// The engine, once every tensor has come; every kernel is made here, so that the first
    /// token does not wait for them.
    ///
    /// Errors with `Mismatch` naming a tensor that has not, `Device` if a kernel cannot be made.
    pub fn finish(self) -> Result<Engine> {
        self.model.weights.check_complete()?;
        let Self { model, tokenizer, mut backend } = self;
        let slots = Slots::new(model.slots());
        let (mut plans, adapters) = (Plans::default(), Adapters::default());
        plans.get(Kind::Decode, 1, &model, &mut backend)?;
        plans.get(Kind::Prefill, MAX_ROWS, &model, &mut backend)?;
        let (chat, rows_of) = (None, None);
        Ok(Engine { model, tokenizer, backend, plans, adapters, slots, chat, rows_of, next_generation: 0 })
    }
}
