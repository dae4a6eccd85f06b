//! The GGUF format, versions 2 and 3: metadata by key, then where each tensor lies.
//! Not a loader, and no map of names: it sees a header, and says what the file claims.
//!
//! Layout, all little-endian: `GGUF`, version (u32), tensor count (u64), metadata count (u64);
//! the metadata: key, type, value; the tensors: name, dimensions innermost first, type, offset
//! from the start of the data; zeros up to a multiple of `general.alignment`, and the data.
//! Followed from ggml's `docs/gguf.md`; what `gguf.cpp` refuses is refused here too.
//!
//! ```
//! use lorakeet::format::gguf::Header;
//!
//! let mut file = b"GGUF".to_vec();
//! file.extend(3u32.to_le_bytes());
//! file.extend([0; 16]);
//! assert!(Header::from_file_bytes(&file)?.tensors.is_empty());
//! # Ok::<(), lorakeet::Error>(())
//! ```

mod cursor;
mod ggml_type;
mod lora;
mod split;
mod value;

pub use lora::LoraFile;
pub(crate) use lora::LoraPair;
pub use split::part_names;
pub use value::{Array, Value};

use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::format::foreign;
use crate::format::safetensors::PREFIX_BYTES;
use crate::order::sort_by_key;
use cursor::Cursor;
use ggml_type::GgmlType;
use std::collections::{BTreeMap, BTreeSet};

/// A file's first four bytes.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
/// Longest header accepted, in bytes: a vocabulary of 256 Ki tokens with its merges takes 12 MB.
pub(crate) const MAX_HEADER_BYTES: usize = 64 << 20;

/// `GGML_MAX_DIMS`
const MAX_DIMS: u32 = 4;
/// The format's own limits on names, bytes.
const MAX_KEY_BYTES: usize = 65_535;
const MAX_TENSOR_NAME_BYTES: usize = 64;
/// The tensor that divides rotary frequencies, (E/2); no checkpoint has it.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// Those that do so in contexts up to the original length, and in longer ones.
pub(crate) const SHORT_ROPE_FACTORS: &str = "rope_factors_short.weight";
pub(crate) const LONG_ROPE_FACTORS: &str = "rope_factors_long.weight";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// What a GGUF file says it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// 2 or 3, which differ in nothing read here.
    pub version: u32,
    /// By key.
    pub metadata: BTreeMap<String, Value>,
    /// In the header's order.
    pub tensors: Vec<TensorInfo>,
}

impl Header {
    /// Reads the header from a file's first bytes; `None` if it may go on after them, and the
    /// file of `file_bytes` does: come back with more.
    ///
    /// Errors: `Format` for what is no GGUF file, or lies about its lengths, types or offsets;
    /// `Unsupported` naming a version or tensor type that is not known.
    pub fn parse(bytes: &[u8], file_bytes: u64) -> Result<Option<Self>> {
        let mut cursor = Cursor::new(bytes);
        match Self::read(&mut cursor, file_bytes) {
            Err(_) if cursor.ran_out && (bytes.len() as u64) < file_bytes => {
                if bytes.len() >= MAX_HEADER_BYTES {
                    return Err(Error::format(format!(
                        "GGUF header: more than {} bytes, expected at most {MAX_HEADER_BYTES}",
                        bytes.len()
                    )));
                }
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Reads the header of a file that is at hand whole.
    ///
    /// Errors as [`Header::parse`].
    pub fn from_file_bytes(file: &[u8]) -> Result<Self> {
        Self::read(&mut Cursor::new(file), file.len() as u64)
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The tensors that take bytes, in the order in which these lie in the file.
    pub(crate) fn by_offset(&self) -> Vec<&TensorInfo> {
        by_offset(&self.tensors)
    }

    /// The value of a key, as `read` sees it; `None` if there is no such key.
    ///
    /// Errors with `Format` if it is of another type than `expected`.
    pub(crate) fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(key, Some(value), expected))
    }

    /// A text that must be there.
    ///
    /// Errors with `Format` if it is missing, or no text.
    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        self.get(key, "a text", Value::as_text)?.ok_or_else(|| wrong(key, None, "a text"))
    }

    /// A count, if it is there.
    ///
    /// Errors with `Format` if it is none.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, "a count", Value::as_count)
    }

    /// Whether there is a tokenizer in this file.
    pub(crate) fn has_tokenizer(&self) -> bool {
        let model = self.metadata.get("tokenizer.ggml.model").and_then(Value::as_text);
        model.is_some_and(|model| model != "no_vocab")
    }

    /// The id under `tokenizer.ggml.{name}`, if it is there.
    ///
    /// Errors with `Format` if it is none.
    pub(crate) fn token_id(&self, name: &str) -> Result<Option<u32>> {
        let read = |value: &Value| value.as_count().and_then(|id| u32::try_from(id).ok());
        self.get(&format!("tokenizer.ggml.{name}"), "a token id", read)
    }

    fn read(cursor: &mut Cursor, file_bytes: u64) -> Result<Self> {
        let in_header = |e: Error| e.context("GGUF header");
        let first = cursor.rest();
        if !first.is_empty() || file_bytes == 0 {
            foreign::refuse(first)?;
        }
        let magic = cursor.take(4).map_err(in_header)?;
        if magic != MAGIC {
            if first.get(PREFIX_BYTES) == Some(&b'{') {
                return Err(Error::format(
                    "a safetensors file, not GGUF: it is loaded with the folder it is in",
                ));
            }
            return Err(Error::format(format!("GGUF file: begins with {magic:?}, expected {MAGIC:?}: GGUF")));
        }
        let version = cursor.u32().map_err(in_header)?;
        if !matches!(version, 2 | 3) {
            let big_endian = matches!(version.swap_bytes(), 2 | 3);
            let hint = if big_endian { ": it is big-endian" } else { "" };
            return Err(Error::unsupported(format!("GGUF file: version {version}, expected 2 or 3{hint}")));
        }
        let n_tensors = cursor.u64().map_err(in_header)?;
        let n_metadata = cursor.u64().map_err(in_header)?;
        // Counts are never believed: each turn takes bytes or fails.
        let mut metadata = BTreeMap::new();
        for i in 0..n_metadata {
            let (key, value) = entry(cursor).map_err(|e| e.context(format_args!("GGUF metadata {i}")))?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(Error::format(format!("GGUF metadata `{key}` appears twice")));
            }
        }
        let mut claims = Vec::new();
        for i in 0..n_tensors {
            claims.push(Claim::read(cursor).map_err(|e| e.context(format_args!("GGUF tensor {i}")))?);
        }
        let alignment = alignment(&metadata)?;
        let data = cursor.pos().next_multiple_of(alignment);
        let tensors = place(claims, alignment, data, file_bytes)?;
        Ok(Self { version, metadata, tensors })
    }
}

/// One key and its value.
fn entry(cursor: &mut Cursor) -> Result<(String, Value)> {
    let key = cursor.text()?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::format(format!("a key of {} bytes, expected 1 to {MAX_KEY_BYTES}", key.len())));
    }
    let value = Value::read(cursor).map_err(|e| e.context(format_args!("`{key}`")))?;
    Ok((key.to_owned(), value))
}

/// A power of two, as `gguf.cpp` demands.
fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Unsigned(value)) if value.is_power_of_two() && *value <= u32::MAX.into() => Ok(*value),
        Some(Value::Unsigned(value)) => Err(Error::format(format!(
            "GGUF metadata `{ALIGNMENT_KEY}` is {value}, expected a power of two below 2^32"
        ))),
        other => Err(wrong(ALIGNMENT_KEY, other, "an integer")),
    }
}

/// What the header says of one tensor.
struct Claim {
    name: String,
    /// Innermost first.
    dims: Vec<u64>,
    ggml_type: &'static GgmlType,
    /// From the start of the data.
    offset: u64,
}

impl Claim {
    fn read(cursor: &mut Cursor) -> Result<Self> {
        let name = cursor.text()?;
        if name.is_empty() || name.len() > MAX_TENSOR_NAME_BYTES {
            return Err(Error::format(format!(
                "a name of {} bytes, expected 1 to {MAX_TENSOR_NAME_BYTES}",
                name.len()
            )));
        }
        let named = |e: Error| e.context(format_args!("`{name}`"));
        let n_dims = cursor.u32().map_err(named)?;
        if n_dims > MAX_DIMS {
            return Err(named(Error::format(format!("{n_dims} dimensions, expected at most {MAX_DIMS}"))));
        }
        let dims = (0..n_dims).map(|_| cursor.u64()).collect::<Result<_>>().map_err(named)?;
        let id = cursor.u32().map_err(named)?;
        let ggml_type = GgmlType::find(id)
            .ok_or_else(|| named(Error::unsupported(format!("ggml type {id}, which is not known"))))?;
        let offset = cursor.u64().map_err(named)?;
        Ok(Self { name: name.to_owned(), dims, ggml_type, offset })
    }

    /// Errors with `Format` unless it lies aligned, within the file's data that starts at `data`.
    fn place(self, alignment: u64, data: u64, file_bytes: u64) -> Result<TensorInfo> {
        let Self { name, dims, ggml_type, offset } = self;
        let dtype = ggml_type.dtype();
        if offset % alignment != 0 {
            return Err(Error::format(format!("starts at byte {offset}, no multiple of {alignment}")));
        }
        let bytes = ggml_type.bytes(&dims).ok_or_else(|| {
            let block = ggml_type.block_elements;
            Error::format(format!(
                "dimensions {dims:?} of {dtype}: too many, or a row is no multiple of {block}"
            ))
        })?;
        let start = data.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(bytes)).filter(|&end| end <= file_bytes);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Error::format(format!("ends past byte {file_bytes}, where the file does")));
        };
        let shape = dims.iter().rev().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| Error::format(format!("dimensions {dims:?} are too large")))?;
        Ok(TensorInfo { name, dtype, shape, start, end })
    }
}

/// Errors with `Format` for a name twice, a tensor outside the data, or two that overlap.
fn place(claims: Vec<Claim>, alignment: u64, data: u64, file_bytes: u64) -> Result<Vec<TensorInfo>> {
    let ends = claims.iter().filter_map(|claim| {
        let bytes = claim.ggml_type.bytes(&claim.dims)?;
        Some(data.saturating_add(claim.offset).saturating_add(bytes))
    });
    if let Some(end) = ends.max().filter(|&end| end > file_bytes) {
        return Err(Error::format(foreign::cut_short(file_bytes, Some(end))));
    }
    let mut names = BTreeSet::new();
    let mut tensors = Vec::new();
    for claim in claims {
        let name = claim.name.clone();
        let named = |e: Error| e.context(format_args!("tensor `{name}`"));
        tensors.push(claim.place(alignment, data, file_bytes).map_err(named)?);
        if !names.insert(name.clone()) {
            return Err(named(Error::format("appears twice")));
        }
    }
    let order = by_offset(&tensors);
    for (a, b) in order.iter().zip(order.iter().skip(1)) {
        if b.start < a.end {
            return Err(Error::format(format!("tensors `{}` and `{}` overlap", a.name, b.name)));
        }
    }
    Ok(tensors)
}

fn by_offset(tensors: &[TensorInfo]) -> Vec<&TensorInfo> {
    let mut order: Vec<_> = tensors.iter().filter(|tensor| tensor.byte_len() > 0).collect();
    sort_by_key(&mut order, |tensor| tensor.start);
    order
}

fn wrong(key: &str, value: Option<&Value>, expected: &str) -> Error {
    let got = value.map_or("missing", Value::kind);
    Error::format(format!("GGUF metadata `{key}` is {got}, expected {expected}"))
}
