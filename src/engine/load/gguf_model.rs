//! From a GGUF file's header and tensors to a loaded model: llama.cpp's names and row orders undone.
//! What the file says is `format::gguf`'s, how names correspond `model`'s.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::backend::Backend;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::format::gguf::{Header, LONG_ROPE_FACTORS, ROPE_FACTORS, SHORT_ROPE_FACTORS, Value};
use crate::format::{SourceDtype, TensorInfo};
use crate::model::{Blueprint, GgufTensor, RowOrder, checkpoint_tensor, gguf_name};
use crate::tokenizer::{GgufTokenizer, Tokenizer};
use crate::widen::Blocks;

use crate::engine::adapters::turn::restored;
use crate::engine::load::loader::Loader;
use crate::engine::load::loader::read_tokenizer;
use crate::engine::load::options::EngineOptions;
use crate::engine::load::told::StoredType;

impl Loader {
    /// Makes room for the model of a GGUF file. `tokenizer`, a `tokenizer.json`, is for files that
    /// [have none](Header::has_tokenizer).
    ///
    /// Errors with `Format` or `Unsupported` naming the key or tensor, `Mismatch` naming a tensor
    /// that is missing or of another architecture, `Argument` for the options or for want of a
    /// tokenizer, `Memory`.
    pub fn from_gguf(
        header: &Header,
        tokenizer: Option<&[u8]>,
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let mut loader = Self::of_gguf(header, tokenizer, backend, options)?;
        loader.allocate()?;
        Ok(loader)
    }

    /// The same, where a device that is out of memory tells so only to who waits.
    ///
    /// Errors as that does.
    pub async fn open_gguf(
        header: &Header,
        tokenizer: Option<&[u8]>,
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::of_gguf(header, tokenizer, backend, options)?.reserved().await
    }

    /// A model that has no room on the backend yet.
    ///
    /// Errors as [`from_gguf`](Self::from_gguf).
    pub(crate) fn of_gguf(
        header: &Header,
        tokenizer: Option<&[u8]>,
        backend: Backend,
        options: &EngineOptions,
    ) -> Result<Self> {
        let config = Blueprint::from_gguf(header)?;
        let tokenizer = match tokenizer {
            _ if header.has_tokenizer() => Tokenizer::from_gguf(&tables(header)?)?,
            Some(json) => read_tokenizer(json)?,
            None => {
                return Err(Error::argument(
                    "GGUF file: it has no tokenizer, and no tokenizer.json is beside it",
                ));
            }
        };
        header.tensors.iter().try_for_each(check_type)?;
        let family = config.family;
        let named =
            |tensor: &TensorInfo| Some((checkpoint_tensor(family, &tensor.name)?.name, tensor.dtype.held()));
        let types: HashMap<String, Dtype> = header.tensors.iter().filter_map(named).collect();
        let dtype_of = |name: &str| options.dtype.or(types.get(name).copied()).unwrap_or(Dtype::F32);
        let mut loader = Self::prepare(config, tokenizer, backend, options, &dtype_of)?;
        loader.gguf = true;
        loader.model.weights.expect_turned();
        let names: HashSet<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        for name in loader.model.weights.names() {
            let name = gguf_name(family, name).unwrap_or_else(|| name.to_owned());
            if !names.contains(name.as_str()) {
                return Err(Error::mismatch(format!("tensor `{name}` is missing")));
            }
        }
        // What the metadata claims is believed once tensors of such shapes lie in the file.
        for tensor in &header.tensors {
            loader.pieces(tensor)?;
        }
        loader.told.types = loader.stored_types(header);
        if options.dtype.is_none() {
            let changed = loader.changed(header);
            loader.told.warnings.extend(changed);
        }
        Ok(loader)
    }

    /// What to read of the file, in order, and [`load`](Self::load).
    ///
    /// Errors with `Mismatch` naming a tensor that the architecture does not have.
    pub fn gguf_pieces(&self, header: &Header) -> Result<Vec<TensorInfo>> {
        let mut pieces = Vec::new();
        for tensor in header.by_offset() {
            pieces.extend(self.pieces(tensor)?);
        }
        Ok(pieces)
    }

    /// Whether a tensor must come in one piece.
    ///
    /// Errors with `Mismatch` for a tensor the architecture does not have, or of another shape.
    pub(crate) fn expects_gguf(&self, info: &TensorInfo) -> Result<bool> {
        let config = &self.model.config;
        if config.rotates() && is_rope_factors(&info.name) {
            let expected = [config.rotary_dim / 2];
            return if info.shape == expected {
                Ok(true)
            } else {
                Err(Error::mismatch(format!(
                    "tensor `{}`: shape {:?}, expected {expected:?}",
                    info.name, info.shape
                )))
            };
        }
        let GgufTensor { name, order } = self.checkpoint_tensor(&info.name)?;
        let expected = self.model.weights.expects(&name, &info.shape);
        expected.map_err(|e| e.context(format_args!("tensor `{}`", info.name)))?;
        Ok(order != RowOrder::Same)
    }

    pub(crate) fn load_gguf(&mut self, piece: &TensorInfo, bytes: &[u8]) -> Result<()> {
        if is_rope_factors(&piece.name) {
            return self.set_rope_factors(&piece.name, &piece.read_f32(bytes)?);
        }
        let GgufTensor { name, order } = self.checkpoint_tensor(&piece.name)?;
        // Rows are whole blocks: they change places before they become numbers.
        let rows = piece.shape.first().copied().unwrap_or(1).max(1);
        let row_bytes = (bytes.len() / rows).max(1);
        let restored = restored(bytes, row_bytes, order, &self.model.config);
        self.place(&name, piece, restored.as_deref().unwrap_or(bytes))
    }

    /// What types the file has, and how they are held, that of most bytes first.
    fn stored_types(&self, header: &Header) -> Vec<StoredType> {
        let mut types: BTreeMap<(String, Dtype), StoredType> = BTreeMap::new();
        for tensor in &header.tensors {
            let Some((held, held_bytes)) = self.held(tensor) else { continue };
            let stored = tensor.dtype.to_string();
            let none =
                StoredType { stored: stored.clone(), held, tensors: 0, stored_bytes: 0, held_bytes: 0 };
            let sums = types.entry((stored, held)).or_insert(none);
            sums.tensors += 1;
            sums.stored_bytes += tensor.byte_len();
            sums.held_bytes += held_bytes;
        }
        let mut types: Vec<_> = types.into_values().collect();
        types.sort_by_key(|each| std::cmp::Reverse(each.stored_bytes));
        types
    }

    /// How a tensor is held, and in how many bytes; `None` for one that is no weight.
    fn held(&self, tensor: &TensorInfo) -> Option<(Dtype, u64)> {
        let dtype = self.model.weights.dtype_of(&self.checkpoint_tensor(&tensor.name).ok()?.name)?;
        let words = match tensor.shape[..] {
            [rows, cols] => rows * dtype.row_words(cols),
            _ => tensor.shape.iter().product(),
        };
        Some((dtype, 4 * words as u64))
    }

    /// What is rounded, or takes more memory than in the file, by the two types.
    fn changed(&self, header: &Header) -> Vec<String> {
        let mut changed: BTreeMap<(String, &str, bool), (usize, u64, u64)> = BTreeMap::new();
        for tensor in &header.tensors {
            let Some((dtype, held)) = self.held(tensor).filter(|_| tensor.shape.len() == 2) else { continue };
            let stored = tensor.byte_len();
            let is_kept = dtype == Dtype::F32 || tensor.dtype.stored_as(dtype, &[]).is_some();
            // Padding and wider scales are not worth a word.
            if held > stored + stored / 16 || !is_kept {
                let sums = changed.entry((tensor.dtype.to_string(), dtype.name(), is_kept)).or_default();
                *sums = (sums.0 + 1, sums.1 + stored, sums.2 + held);
            }
        }
        let say = |((from, to, is_kept), (n, stored, held))| {
            let (tensors, their) = if n == 1 { ("tensor", "its") } else { ("tensors", "their") };
            let does = if is_kept { "keeps" } else { "rounds" };
            format!(
                "{n} {tensors} of type {from} held as {to}, which {does} {their} numbers: {held} bytes, {stored} in the file"
            )
        };
        changed.into_iter().map(say).collect()
    }

    fn set_rope_factors(&mut self, name: &str, factors: &[f32]) -> Result<()> {
        if let Some(bad) = factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
            return Err(Error::format(format!("tensor `{name}`: holds {bad}, expected positive numbers")));
        }
        self.model.config.set_rope_factors(factors, name == LONG_ROPE_FACTORS);
        self.upload_constants();
        Ok(())
    }

    fn checkpoint_tensor(&self, name: &str) -> Result<GgufTensor> {
        let family = self.model.config.family;
        let tensor = checkpoint_tensor(family, name).filter(|tensor| self.model.weights.has(&tensor.name));
        tensor.ok_or_else(|| {
            let architecture = family.architecture;
            Error::mismatch(format!("tensor `{name}`: the architecture {architecture} has no such tensor"))
        })
    }
}

fn is_rope_factors(name: &str) -> bool {
    [ROPE_FACTORS, SHORT_ROPE_FACTORS, LONG_ROPE_FACTORS].contains(&name)
}

/// Errors with `Unsupported` naming a tensor of a type that is not read.
fn check_type(TensorInfo { name, dtype, .. }: &TensorInfo) -> Result<()> {
    use SourceDtype::{BF16, F16, F32};
    if matches!(dtype, F32 | F16 | BF16 | SourceDtype::Blocks(_)) {
        return Ok(());
    }
    let [read @ .., last] = Blocks::ALL.map(Blocks::name);
    let read = read.join(", ");
    Err(Error::unsupported(format!(
        "tensor `{name}`: type {dtype}, expected F32, F16, BF16, {read} or {last}"
    )))
}

/// Keys after `tokenizer.ggml.` that are read here or change nothing, as those of further tokens do.
const TOKENIZER_KEYS: &[&str] = &[
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "merges",
    "model",
    "normalizer.lowercase",
    "normalizer.strip_accents",
    "pre",
    "remove_extra_whitespaces",
    "scores",
    "token_type",
    "token_type_count",
    "tokens",
];

/// The tokenizer's keys.
///
/// Errors with `Format` if one is of another type, `Unsupported` naming one whose effect is not
/// implemented.
fn tables(header: &Header) -> Result<GgufTokenizer<'_>> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let flag = |name| header.get(&key(name), "a boolean", Value::as_bool);
    let id = |name| header.token_id(name);
    let refused = |name: &str| Error::unsupported(format!("GGUF metadata `{}` is not supported", key(name)));
    let prefix = key("");
    let mut names = header.metadata.keys().filter_map(|name| name.strip_prefix(&prefix));
    if let Some(name) = names.find(|name| !TOKENIZER_KEYS.contains(name) && !name.ends_with("_token_id")) {
        return Err(refused(name));
    }
    if flag("remove_extra_whitespaces")? == Some(true) {
        return Err(refused("remove_extra_whitespaces"));
    }
    let texts = |name| header.get(&key(name), "texts", Value::as_texts);
    Ok(GgufTokenizer {
        model: header.text(&key("model"))?,
        pre: header.get(&key("pre"), "a text", Value::as_text)?,
        tokens: texts("tokens")?.unwrap_or_default(),
        scores: header.get(&key("scores"), "floats", Value::as_floats)?.unwrap_or_default(),
        token_type: header.get(&key("token_type"), "integers", Value::as_integers)?.unwrap_or_default(),
        merges: texts("merges")?.unwrap_or_default(),
        unknown: id("unknown_token_id")?,
        bos: id("bos_token_id")?.or(id("cls_token_id")?),
        eos: id("eos_token_id")?,
        sep: id("seperator_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_sep: flag("add_sep_token")?,
        lowercase: flag("normalizer.lowercase")?,
        strip_accents: flag("normalizer.strip_accents")?,
        add_space_prefix: flag("add_space_prefix")?,
        chat_template: header.get("tokenizer.chat_template", "a text", Value::as_text)?,
        tool_use_template: header.get("tokenizer.chat_template.tool_use", "a text", Value::as_text)?,
    })
}
