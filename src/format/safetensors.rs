//! The safetensors format: a JSON header that says where each tensor lies, then the bytes.
//! Not a loader: it sees a header, then one tensor's bytes at a time, never a whole file.
//!
//! Layout: header length (u64, little-endian), header (JSON, may be padded with spaces), data.
//! The tensors must tile the data in some order: no holes, no overlaps, nothing left over.
//! The `safetensors` crate is not used here because its reader wants the whole file in one
//! slice, keeps the last of two tensors of the same name, and rejects a file for holding an
//! element type it does not know even if nobody asks for that tensor. Tests hold this reader
//! to the crate's verdict on everything else.

use super::foreign;
use super::tensor::{SourceDtype, TensorInfo};
use super::unique_map::UniqueMap;
use crate::error::{Error, Result};
use crate::order::sort_by_key;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest JSON header accepted, in bytes. A header takes about 120 bytes per tensor, so
/// this is room for 100,000 tensors.
pub const MAX_HEADER_BYTES: usize = 16 << 20;

/// Length of the header's length, in bytes.
pub(crate) const PREFIX_BYTES: usize = 8;

/// How much of a file tells what it is.
pub(crate) const FIRST_BYTES: usize = 64;

/// The key that holds the file's own metadata and therefore names no tensor.
pub(super) const METADATA_KEY: &str = "__metadata__";

/// What a safetensors file says it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in file order.
    pub tensors: Vec<TensorInfo>,
    /// The file's `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// Length of the JSON header in bytes, from the first [`FIRST_BYTES`] of a file, or all it has.
    ///
    /// `file_bytes`: size of the whole file.
    /// Errors with `Format` if it is above [`MAX_HEADER_BYTES`] or the file's end, and says what
    /// the file is where it is something else.
    pub fn length(first_bytes: &[u8], file_bytes: u64) -> Result<usize> {
        // An object begins after the prefix, whatever that looks like.
        if first_bytes.get(PREFIX_BYTES) != Some(&b'{') {
            foreign::refuse(first_bytes)?;
        }
        let prefix = first_bytes.first_chunk().ok_or_else(|| {
            Error::format(format!("safetensors file: {file_bytes} bytes, expected at least {PREFIX_BYTES}"))
        })?;
        let length = u64::from_le_bytes(*prefix);
        if length > MAX_HEADER_BYTES as u64 {
            return Err(Error::format(match foreign::text(first_bytes) {
                _ if first_bytes.starts_with(b"GGUF") => "a GGUF file, not safetensors".to_owned(),
                Some(text) => format!("a text, not weights; it begins with `{text}`"),
                None => format!("safetensors header: {length} bytes, expected at most {MAX_HEADER_BYTES}"),
            }));
        }
        let end = PREFIX_BYTES as u64 + length;
        if end > file_bytes {
            return Err(Error::format(foreign::cut_short(file_bytes, Some(end))));
        }
        Ok(length as usize)
    }

    /// Parses and validates a header.
    ///
    /// `json`: the header without its length; `file_bytes`: size of the whole file.
    /// Errors with `Format` unless the tensors tile the rest of the file exactly.
    pub fn parse(json: &[u8], file_bytes: u64) -> Result<Self> {
        let header_end = (json.len() as u64).saturating_add(PREFIX_BYTES as u64);
        let data_bytes = file_bytes.checked_sub(header_end).ok_or_else(|| {
            Error::format(format!("safetensors file: {file_bytes} bytes, expected at least {header_end}"))
        })?;
        let RawHeader { mut tensors, metadata } =
            serde_json::from_slice(json).map_err(|e| Error::format(format!("safetensors header: {e}")))?;
        sort_by_key(&mut tensors, |(_, raw)| raw.data_offsets);
        let end = tensors.iter().map(|(_, raw)| raw.data_offsets.1).max().unwrap_or(0);
        if end > data_bytes {
            return Err(Error::format(foreign::cut_short(file_bytes, Some(header_end.saturating_add(end)))));
        }

        let mut tiled = Tiled { header_end, end: 0, last: None };
        let tensors = tensors
            .into_iter()
            .map(|(name, raw)| {
                tiled.place(&name, raw).map_err(|e| e.context(format_args!("tensor `{name}`")))
            })
            .collect::<Result<Vec<_>>>()?;
        if tiled.end != data_bytes {
            return Err(Error::format(format!(
                "safetensors file: {data_bytes} bytes of data, expected {}, where its last tensor ends",
                tiled.end
            )));
        }
        Ok(Self { tensors, metadata })
    }

    /// Parses and validates the header of a file that is at hand whole.
    pub fn from_file_bytes(file: &[u8]) -> Result<Self> {
        let file_bytes = file.len() as u64;
        let length = Self::length(file.get(..FIRST_BYTES).unwrap_or(file), file_bytes)?;
        let json = file.get(PREFIX_BYTES..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        Self::parse(json, file_bytes)
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// How far the tensors placed so far cover the data.
struct Tiled {
    header_end: u64,
    /// One past the last byte covered, counted from the start of the data.
    end: u64,
    /// The tensor that ends there.
    last: Option<String>,
}

impl Tiled {
    /// Checks one tensor, the next in order of offsets. Messages count from the start of the
    /// data, as the header does.
    fn place(&mut self, name: &str, raw: RawTensor) -> Result<TensorInfo> {
        let (start, end) = raw.data_offsets;
        let held = end
            .checked_sub(start)
            .ok_or_else(|| Error::format(format!("ends at byte {end}, before its start at {start}")))?;
        if start < self.end {
            let last = self.last.as_deref().unwrap_or_default();
            return Err(Error::format(format!(
                "starts at byte {start}, expected {}, where tensor `{last}` ends: they overlap",
                self.end
            )));
        }
        if start > self.end {
            return Err(Error::format(format!("starts at byte {start}, expected {}: a hole", self.end)));
        }
        let shape = raw.shape;
        let dtype = SourceDtype::from_name(raw.dtype);
        let too_large = || Error::format(format!("shape {shape:?} of {dtype} overflows"));
        let elements = elements(&shape).ok_or_else(too_large)?;
        // No name in a header means blocks.
        if let Some((_, element_bytes)) = dtype.block() {
            let claimed = elements.checked_mul(element_bytes).ok_or_else(too_large)?;
            if held != claimed {
                return Err(Error::format(format!(
                    "{held} bytes, expected {claimed} for shape {shape:?} of {dtype}"
                )));
            }
        }
        let shape = shape
            .iter()
            .map(|&dim| usize::try_from(dim))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| too_large())?;
        self.end = end;
        self.last = Some(name.to_owned());
        // Both are at most the file's size, itself a u64, so neither sum can wrap.
        let start = self.header_end.saturating_add(start);
        let end = self.header_end.saturating_add(end);
        Ok(TensorInfo { name: name.to_owned(), dtype, shape, start, end })
    }
}

/// Product of the dimensions; `None` if it overflows.
fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))
}

/// One tensor's entry in the JSON. Offsets count from the start of the data.
#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The JSON header before validation.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawHeader, A::Error> {
        let mut names = BTreeSet::new();
        let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
        while let Some(name) = entries.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("`{name}` appears twice")));
            }
            let named = |e: A::Error| A::Error::custom(format_args!("`{name}`: {e}"));
            if name == METADATA_KEY {
                let metadata: Option<UniqueMap<String>> = entries.next_value().map_err(named)?;
                header.metadata = metadata.map(|map| map.0).unwrap_or_default();
            } else {
                let tensor = entries.next_value().map_err(named)?;
                header.tensors.push((name, tensor));
            }
        }
        Ok(header)
    }
}
