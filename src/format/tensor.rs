//! A tensor as a file has it: name, element type, shape, where its bytes lie, and what they say.
//! Not how a file tells of it, which each format's own header does.

use std::borrow::Cow;
use std::fmt;

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::widen::{self, Blocks};

/// Element type of a tensor as stored in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the format's own")]
pub enum SourceDtype {
    F32,
    F16,
    BF16,
    I64,
    I32,
    U32,
    U8,
    Bool,
    /// A type of GGUF files.
    Blocks(Blocks),
    /// A type this crate does not decode, as spelled in the file. Harmless until read.
    Other(String),
}

impl SourceDtype {
    pub(super) fn from_name(name: String) -> Self {
        match name.as_str() {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "U32" => Self::U32,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            _ => Self::Other(name),
        }
    }

    /// Elements that are stored together, and their bytes; `None` for a type this crate does
    /// not decode.
    pub fn block(&self) -> Option<(usize, u64)> {
        match self {
            Self::I64 => Some((1, 8)),
            Self::F32 | Self::I32 | Self::U32 => Some((1, 4)),
            Self::F16 | Self::BF16 => Some((1, 2)),
            Self::U8 | Self::Bool => Some((1, 1)),
            Self::Blocks(blocks) => {
                let (elements, bytes) = blocks.size();
                Some((elements, bytes as u64))
            }
            Self::Other(_) => None,
        }
    }

    /// The narrowest type of weights that holds the same numbers; or as good as the same: of BF16's below 2⁻¹⁴
    /// f16 drops what is under 2⁻²⁵.
    pub(crate) fn held(&self) -> Dtype {
        match self {
            Self::F16 | Self::BF16 => Dtype::F16,
            Self::Blocks(blocks) => blocks.held(),
            _ => Dtype::F32,
        }
    }

    /// Stored bytes as ggml stores the same numbers in type `dtype`: what [`Dtype::from_stored`] takes.
    /// `None` where that is not a matter of moving bits, or rounds.
    pub fn stored_as<'a>(&self, dtype: Dtype, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match (self, dtype) {
            (Self::F16, Dtype::F16) => Some(Cow::Borrowed(bytes)),
            (Self::Blocks(blocks), _) => blocks.stored_as(dtype, bytes),
            _ => None,
        }
    }
}

impl fmt::Display for SourceDtype {
    /// The name as the file spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("BOOL"),
            Self::Blocks(blocks) => f.write_str(blocks.name()),
            Self::Other(name) => f.write_str(name),
            known => write!(f, "{known:?}"),
        }
    }
}

/// Where one tensor lies in its file, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, unique in the file.
    pub name: String,
    /// Element type.
    pub dtype: SourceDtype,
    /// Dimensions, outermost first; row-major.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub start: u64,
    /// One past the last byte, counted from the start of the file.
    pub end: u64,
}

impl TensorInfo {
    /// Length of the tensor in bytes.
    pub(crate) fn byte_len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// This tensor's bytes in a file that is at hand whole.
    ///
    /// Errors with `Format` if the file is shorter than the header said.
    pub fn bytes_in<'a>(&self, file: &'a [u8]) -> Result<&'a [u8]> {
        let range = || Some(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?);
        range().and_then(|range| file.get(range)).ok_or_else(|| {
            Error::format(format!(
                "tensor `{}`: ends at byte {} of a file of {}",
                self.name,
                self.end,
                file.len()
            ))
        })
    }

    /// Widens F32, F16 or BF16 to f32, exactly, NaN payloads included; multiplies blocks out.
    ///
    /// `bytes`: this tensor's bytes and no others, at any alignment.
    /// Errors with `Format` if they are too few or too many, `Mismatch` for another type.
    pub fn read_f32(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        self.check_length(bytes)?;
        match self.dtype {
            SourceDtype::F32 => Ok(widen::f32(bytes)),
            SourceDtype::F16 => Ok(widen::f16(bytes)),
            SourceDtype::BF16 => Ok(widen::bf16(bytes)),
            SourceDtype::Blocks(blocks) => Ok(blocks.widen(bytes)),
            _ => Err(self.wrong_dtype("F32, F16 or BF16")),
        }
    }

    /// Reads I32, I64, U32 or U8 as i64.
    ///
    /// `bytes`: this tensor's bytes and no others, at any alignment.
    /// Errors with `Format` if they are too few or too many, `Mismatch` for another type.
    pub fn read_i64(&self, bytes: &[u8]) -> Result<Vec<i64>> {
        self.check_length(bytes)?;
        match self.dtype {
            SourceDtype::I64 => Ok(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
            SourceDtype::I32 => {
                Ok(bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect())
            }
            SourceDtype::U32 => {
                Ok(bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b).into()).collect())
            }
            SourceDtype::U8 => Ok(bytes.iter().map(|&b| b.into()).collect()),
            _ => Err(self.wrong_dtype("I64, I32, U32 or U8")),
        }
    }

    /// Errors with `Format` unless `bytes` are as many as this tensor has.
    pub(crate) fn check_length(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 == self.byte_len() {
            return Ok(());
        }
        Err(Error::format(format!(
            "tensor `{}`: {} bytes, expected {}",
            self.name,
            bytes.len(),
            self.byte_len()
        )))
    }

    fn wrong_dtype(&self, expected: &str) -> Error {
        Error::mismatch(format!("tensor `{}`: dtype {}, expected {expected}", self.name, self.dtype))
    }
}
