//! One metadata value: a number, a boolean, a text, or an array of one of them.
//! Not what a key means; whoever asks for it knows.
//!
//! Numbers are widened to 64 bits, exactly. Arrays of arrays, which the format allows and no
//! known file has, are refused, so that nothing here calls itself.

use std::fmt;

use super::cursor::Cursor;
use crate::error::{Error, Result};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Array),
}

/// An array of one element type.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Array {
    Unsigned(Vec<u64>),
    Signed(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

const TYPE_ARRAY: u32 = 9;

impl Value {
    /// A type number and the value.
    pub(super) fn read(cursor: &mut Cursor) -> Result<Self> {
        let kind = cursor.u32()?;
        if kind == TYPE_ARRAY { Array::read(cursor).map(Self::Array) } else { Self::scalar(kind, cursor) }
    }

    fn scalar(kind: u32, cursor: &mut Cursor) -> Result<Self> {
        Ok(match kind {
            0 => Self::Unsigned(cursor.u8()?.into()),
            1 => Self::Signed(cursor.u8()?.cast_signed().into()),
            2 => Self::Unsigned(cursor.u16()?.into()),
            3 => Self::Signed(cursor.u16()?.cast_signed().into()),
            4 => Self::Unsigned(cursor.u32()?.into()),
            5 => Self::Signed(cursor.u32()?.cast_signed().into()),
            6 => Self::Float(cursor.f32()?.into()),
            7 => Self::Bool(truth(cursor.u8()?)?),
            8 => Self::Text(cursor.text()?.to_owned()),
            10 => Self::Unsigned(cursor.u64()?),
            11 => Self::Signed(cursor.u64()?.cast_signed()),
            12 => Self::Float(cursor.f64()?),
            _ => return Err(Error::format(format!("value type {kind}, expected 0 to 12"))),
        })
    }

    /// A text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// An integer that is not negative, of whichever type.
    pub(crate) fn as_count(&self) -> Option<usize> {
        match self {
            Self::Unsigned(value) => usize::try_from(*value).ok(),
            Self::Signed(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A float.
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// A number of whichever type.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// A truth.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// An array of texts.
    pub(crate) fn as_texts(&self) -> Option<&[String]> {
        if let Self::Array(Array::Text(texts)) = self { Some(texts) } else { None }
    }

    /// An array of floats.
    pub(crate) fn as_floats(&self) -> Option<&[f64]> {
        if let Self::Array(Array::Float(values)) = self { Some(values) } else { None }
    }

    /// An array of signed integers.
    pub(crate) fn as_integers(&self) -> Option<&[i64]> {
        if let Self::Array(Array::Signed(values)) = self { Some(values) } else { None }
    }

    /// What an error calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a text",
            Self::Array(_) => "an array",
        }
    }
}

/// As errors show it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Array(_) => f.write_str(self.kind()),
        }
    }
}

impl Array {
    /// An element type, a count and the elements. Memory grows with the bytes read, not with
    /// the count claimed.
    fn read(cursor: &mut Cursor) -> Result<Self> {
        let (kind, count) = (cursor.u32()?, cursor.u64()?);
        let mut array = match kind {
            0 | 2 | 4 | 10 => Self::Unsigned(Vec::new()),
            1 | 3 | 5 | 11 => Self::Signed(Vec::new()),
            6 | 12 => Self::Float(Vec::new()),
            7 => Self::Bool(Vec::new()),
            8 => Self::Text(Vec::new()),
            TYPE_ARRAY => return Err(Error::format("an array of arrays")),
            _ => return Err(Error::format(format!("element type {kind}, expected 0 to 12"))),
        };
        for _ in 0..count {
            match (&mut array, Value::scalar(kind, cursor)?) {
                (Self::Unsigned(list), Value::Unsigned(value)) => list.push(value),
                (Self::Signed(list), Value::Signed(value)) => list.push(value),
                (Self::Float(list), Value::Float(value)) => list.push(value),
                (Self::Bool(list), Value::Bool(value)) => list.push(value),
                (Self::Text(list), Value::Text(value)) => list.push(value),
                _ => unreachable!("a type number has one variant"),
            }
        }
        Ok(array)
    }
}

fn truth(byte: u8) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::format(format!("a boolean of {byte}, expected 0 or 1"))),
    }
}
