//! Building an engine piece by piece: the caller reads bytes, this says which and where to.

use crate::backend::Backend;
use crate::backend::gpu::known_answer::Verdicts;
use crate::error::{Error, Result};
use crate::format::{TensorInfo, explained};
use crate::model::{Blueprint, Model, check_tensor};
use crate::plan::{Dtype, TensorId};
use crate::tokenizer::Tokenizer;

use crate::engine::load::options::EngineOptions;
use crate::engine::load::room::{fitting, sizes};
use crate::engine::load::told::Told;
use crate::engine::plans::every_kernel;
use crate::engine::runner::Runner;

/// Largest piece of a tensor asked for at once, elements. The memory that loading needs above
/// the device's own copy is a few times this.
const PIECE_ELEMENTS: usize = 2 << 20;

/// What loading needs in main memory beside the tensors.
const LOADING_BYTES: u64 = 16 * PIECE_ELEMENTS as u64;

/// A model whose weights are still arriving.
#[derive(Debug)]
pub struct Loader {
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) backend: Backend,
    /// Whether tensors have llama.cpp's names and row orders.
    pub(crate) gguf: bool,
    /// What the caller should know of the files.
    pub(crate) told: Told,
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
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let mut loader = Self::of_files(config, generation_config, tokenizer, backend, options)?;
        loader.allocate()?;
        Ok(loader)
    }

    /// The same, where a device that is out of memory tells so only to who waits.
    ///
    /// Errors as that does.
    pub async fn open(
        config: &[u8],
        generation_config: Option<&[u8]>,
        tokenizer: &[u8],
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::of_files(config, generation_config, tokenizer, backend, options)?.reserved().await
    }

    fn of_files(
        config: &[u8],
        generation_config: Option<&[u8]>,
        tokenizer: &[u8],
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let config = read_config(config, generation_config)?;
        let tokenizer = read_tokenizer(tokenizer)?;
        let dtype = options.dtype.unwrap_or(Dtype::F32);
        Self::prepare(config, tokenizer, backend, options, &|_| dtype)
    }

    /// Makes room on the backend once that has said that there is.
    pub(crate) async fn reserved(mut self) -> Result<Self> {
        self.backend.reserve(&self.model.tensors).await?;
        self.allocate()?;
        Ok(self)
    }

    /// A model that has no room on the backend yet, but for which there is enough as far as is known;
    /// `dtype_of` as [`Model::with_types`] takes it.
    ///
    /// Errors as [`Loader::new`].
    pub(crate) fn prepare(
        config: Blueprint,
        tokenizer: Tokenizer,
        backend: Backend,
        options: &EngineOptions,
        dtype_of: &dyn Fn(&str) -> Dtype,
    ) -> Result<Self> {
        let (has, embeds) = (tokenizer.vocab_size(), config.vocab_size);
        if has > embeds {
            return Err(Error::mismatch(format!(
                "tokenizer: {has} tokens, expected at most the model's vocab_size {embeds}"
            )));
        }
        let sizes = sizes(&config, options, backend.max_tensor_bytes());
        let loading = if matches!(backend, Backend::Cpu(_)) { LOADING_BYTES } else { 0 };
        let model = fitting(config, sizes, dtype_of, loading, &backend)?;
        let mut told = Told::default();
        if model.config.is_text_part {
            let text = "the model's text part is loaded alone: its tensors for images are passed over";
            told.warnings.push(text.to_owned());
        }
        Ok(Self { model, tokenizer, backend, gguf: false, told })
    }

    /// Makes room on the backend.
    ///
    /// Errors with `Memory`.
    pub(crate) fn allocate(&mut self) -> Result<()> {
        self.backend.allocate(&self.model.tensors)?;
        self.upload_constants();
        Ok(())
    }

    pub(crate) fn upload_constants(&mut self) {
        for (id, values) in self.model.constants() {
            self.backend.upload(id, 0, bytemuck::cast_slice(&values));
        }
    }

    /// The pieces in which tensor `info` is to be [`load`](Self::load)ed, in order; none if the
    /// model has no use for it.
    ///
    /// Errors with `Mismatch` if it does not belong to this architecture, `Unsupported` if another library
    /// quantised it.
    pub fn pieces(&self, info: &TensorInfo) -> Result<Vec<TensorInfo>> {
        if !self.gguf {
            check_tensor(&info.name, &info.dtype.to_string())?;
        }
        let (weights, elements) = (&self.model.weights, info.shape.iter().product());
        let whole = if self.gguf {
            self.expects_gguf(info)?
        } else if !weights.expects(&info.name, &info.shape)? {
            return Ok(Vec::new());
        } else {
            weights.wants_whole(&info.name)
        };
        if elements == 0 || whole {
            return Ok(vec![info.clone()]);
        }
        // A piece is a number of whole rows, which are whole blocks.
        let (block, block_bytes) = info.dtype.block().unwrap_or((elements, info.byte_len()));
        let at = |element: usize| info.start + (element / block) as u64 * block_bytes;
        let row: usize = info.shape[1..].iter().product();
        let step = (PIECE_ELEMENTS / row).max(1) * row;
        let piece = |first: usize| {
            let n = step.min(elements - first);
            TensorInfo { shape: vec![n], start: at(first), end: at(first + n), ..info.clone() }
        };
        Ok((0..elements).step_by(step).map(piece).collect())
    }

    /// Takes the bytes of one piece.
    ///
    /// Errors with `Format` if their type cannot be read, their number is wrong, or what they say is
    /// not a finite number.
    pub fn load(&mut self, piece: &TensorInfo, bytes: &[u8]) -> Result<()> {
        if self.gguf { self.load_gguf(piece, bytes) } else { self.place(&piece.name, piece, bytes) }
    }

    /// Takes the bytes of one piece of the checkpoint's tensor `name`, rows in the checkpoint's order.
    pub(crate) fn place(&mut self, name: &str, piece: &TensorInfo, bytes: &[u8]) -> Result<()> {
        let Self { model: Model { weights, .. }, backend, .. } = self;
        let write = |id: TensorId, offset: usize, words: &[u32]| backend.upload(id, offset, words);
        piece.check_length(bytes)?;
        let as_held = weights.row_type(name).and_then(|(dtype, cols)| {
            let stored = piece.dtype.stored_as(dtype, bytes)?;
            Some(dtype.from_stored(&stored, cols))
        });
        match as_held {
            Some(words) => weights.place_words(name, &words, write),
            None => weights.place(name, &piece.read_f32(bytes)?, write),
        }
    }

    /// Tries the kernels that the model needs, before its weights come; `known` is what was known of
    /// this device before. A lost or wrong device errs here, and [`verdicts`](Self::verdicts) tells
    /// what to keep of it.
    ///
    /// Errors with `Device`, naming a kernel that is wrong; or if the device is lost.
    pub async fn check_kernels(&mut self, known: Verdicts) -> Result<()> {
        self.backend.trust(known);
        self.backend.check_kernels(&every_kernel(&self.model)).await
    }

    /// What is known of the device's kernels.
    pub fn verdicts(&self) -> Verdicts {
        self.backend.verdicts()
    }

    /// The model on its device, once every tensor has come, and what else an engine is made of.
    ///
    /// Errors with `Mismatch` naming a tensor that has not, `Device` if a kernel cannot be made.
    pub(crate) fn loaded(self) -> Result<(Runner, Tokenizer, Told)> {
        let Self { model, tokenizer, backend, told, .. } = self;
        model.weights.check_complete()?;
        Ok((Runner::new(model, backend)?, tokenizer, told))
    }
}

/// The architecture that a model folder's files tell of.
///
/// Errors as [`Blueprint::from_json`] and [`Blueprint::read_generation_config`], and with what
/// the file is where it is another.
pub(crate) fn read_config(config: &[u8], generation_config: Option<&[u8]>) -> Result<Blueprint> {
    let read = Blueprint::from_json(config);
    let mut read = read.map_err(|e| explained("config.json", config, e))?;
    if let Some(json) = generation_config {
        let ends = read.read_generation_config(json);
        ends.map_err(|e| explained("generation_config.json", json, e))?;
    }
    Ok(read)
}

/// A `tokenizer.json`.
///
/// Errors as [`Tokenizer::from_json`], and with what the file is where it is another.
pub(crate) fn read_tokenizer(json: &[u8]) -> Result<Tokenizer> {
    Tokenizer::from_json(json).map_err(|e| explained("tokenizer.json", json, e))
}
