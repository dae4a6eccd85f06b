//! What a file says of its model, field by field: `config.json` and GGUF metadata seen alike.
//! Not what a family makes of it.
//!
//! Every field must be known: read by the family, harmless, or off. A newer or a changed model
//! may compute something else with a field that is none of these, so it is refused by name.

mod known;
mod rope;
mod scaling;
mod sizes;
mod value;

pub(super) use sizes::{MAX_LAYERS, out_of_range, token_ids};

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::format::gguf::Header;
use crate::model::pooling::Pooling;

use value::Field;

/// One field by its name in `config.json`, an older name there, and its name after the
/// architecture's in GGUF metadata; each empty where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    json: &'static str,
    older: &'static str,
    gguf: &'static str,
}

impl Key {
    pub(crate) const fn new(json: &'static str, gguf: &'static str) -> Self {
        Self { json, older: "", gguf }
    }

    pub(crate) const fn older(self, older: &'static str) -> Self {
        Self { older, ..self }
    }
}

pub(crate) const ACTIVATION: Key = Key::new("hidden_act", "");
pub(crate) const CONTEXT: Key = Key::new("max_position_embeddings", "context_length");
pub(crate) const HEAD_DIM: Key = Key::new("head_dim", "attention.key_length");
pub(crate) const HEADS: Key = Key::new("num_attention_heads", "attention.head_count");
pub(crate) const HIDDEN_SIZE: Key = Key::new("hidden_size", "embedding_length");
pub(crate) const INTERMEDIATE_SIZE: Key = Key::new("intermediate_size", "feed_forward_length");
pub(crate) const KV_HEADS: Key = Key::new("num_key_value_heads", "attention.head_count_kv");
pub(crate) const LAYERS: Key = Key::new("num_hidden_layers", "block_count");
pub(crate) const LAYER_NORM_EPS: Key = Key::new("layer_norm_epsilon", "attention.layer_norm_epsilon");
pub(crate) const RMS_NORM_EPS: Key = Key::new("rms_norm_eps", "attention.layer_norm_rms_epsilon");

/// The fields of one file.
pub(crate) struct Fields<'a> {
    source: Source<'a>,
    /// Names of all that were asked for: the family knows them.
    asked: RefCell<BTreeSet<&'static str>>,
}

enum Source<'a> {
    Config(&'a Map<String, Json>),
    Metadata { header: &'a Header, architecture: &'a str },
}

impl<'a> Fields<'a> {
    pub(crate) fn of_config(config: &'a Map<String, Json>) -> Self {
        Self { source: Source::Config(config), asked: RefCell::default() }
    }

    pub(crate) fn of_metadata(header: &'a Header, architecture: &'a str) -> Self {
        Self { source: Source::Metadata { header, architecture }, asked: RefCell::default() }
    }

    /// A number of things.
    pub(crate) fn count(&self, key: Key) -> Result<Option<usize>> {
        self.read(key, "a count", Field::count)
    }

    /// A number of things that must be said.
    pub(crate) fn needed(&self, key: Key) -> Result<usize> {
        self.count(key)?.ok_or_else(|| self.missing(key, "a count"))
    }

    /// A number of things that `config.json` may leave out; GGUF metadata must have it.
    pub(crate) fn count_or(&self, key: Key, default: usize) -> Result<usize> {
        match self.source {
            Source::Config(_) => Ok(self.count(key)?.unwrap_or(default)),
            Source::Metadata { .. } => self.needed(key),
        }
    }

    /// The epsilon of a norm, which `config.json` may leave out.
    pub(crate) fn epsilon(&self, key: Key, default: f32) -> Result<f32> {
        match (&self.source, self.number(key)?) {
            (_, Some(epsilon)) => Ok(epsilon as f32),
            (Source::Config(_), None) => Ok(default),
            (Source::Metadata { .. }, None) => Err(self.missing(key, "a float")),
        }
    }

    pub(crate) fn flag(&self, key: Key) -> Result<Option<bool>> {
        self.read(key, "a boolean", Field::flag)
    }

    /// A factor or a bound: finite and above 0. A GGUF file may write 0 where there is none.
    pub(crate) fn factor(&self, key: Key) -> Result<Option<f32>> {
        let factor = self.number(key)?.filter(|&factor| factor != 0.0 || !self.are_metadata());
        match factor.map(|factor| factor as f32) {
            Some(factor) if !(factor.is_finite() && factor > 0.0) => {
                Err(Error::format(format!("{} is {factor}, expected a positive number", self.name(key))))
            }
            factor => Ok(factor),
        }
    }

    fn number(&self, key: Key) -> Result<Option<f64>> {
        self.read(key, "a float", Field::number)
    }

    pub(crate) fn text(&self, key: Key) -> Result<Option<&'a str>> {
        self.read(key, "a text", Field::text)
    }

    /// A list of texts, which GGUF metadata never has.
    pub(crate) fn texts(&self, key: Key) -> Result<Option<Vec<&'a str>>> {
        let texts = |field: Field<'a>| match field {
            Field::Json(Json::Array(items)) => items.iter().map(Json::as_str).collect(),
            _ => None,
        };
        self.read(key, "a list of texts", texts)
    }

    /// A list of counts, which GGUF metadata never has.
    pub(crate) fn counts(&self, key: Key) -> Result<Option<Vec<usize>>> {
        let counts = |field: Field<'a>| match field {
            Field::Json(Json::Array(items)) => items.iter().map(|item| Field::Json(item).count()).collect(),
            _ => None,
        };
        self.read(key, "a list of counts", counts)
    }

    /// Whether a tensor is there; `None` where only the tensors' own files know.
    pub(crate) fn has_tensor(&self, name: &str) -> Option<bool> {
        match self.source {
            Source::Config(_) => None,
            Source::Metadata { header, .. } => Some(header.tensor(name).is_some()),
        }
    }

    /// Rows of a tensor; `None` as above, or if it is not there.
    pub(crate) fn tensor_rows(&self, name: &str) -> Option<usize> {
        match self.source {
            Source::Config(_) => None,
            Source::Metadata { header, .. } => header.tensor(name)?.shape.first().copied(),
        }
    }

    /// What a GGUF file says of an encoder: that it sees all, and how its states become one vector.
    pub(crate) fn pooling(&self) -> Result<Option<Pooling>> {
        const CAUSAL: Key = Key::new("", "attention.causal");
        const POOLING: Key = Key::new("", "pooling_type");
        if self.are_metadata() && self.flag(CAUSAL)? != Some(false) {
            return Err(self.refused(CAUSAL, "true"));
        }
        Ok(match self.count(POOLING)? {
            None | Some(0) => None,
            Some(1) => Some(Pooling::Mean),
            Some(2) => Some(Pooling::Cls),
            Some(3) => Some(Pooling::Last),
            Some(other) => return Err(self.refused(POOLING, other)),
        })
    }

    /// Whether these are GGUF metadata.
    pub(crate) fn are_metadata(&self) -> bool {
        matches!(self.source, Source::Metadata { .. })
    }

    /// Whether `config.json` has the field, be it null.
    pub(crate) fn mentions(&self, key: Key) -> bool {
        matches!(self.source, Source::Config(map) if map.contains_key(key.json))
    }

    /// Whether the field holds just this number.
    pub(crate) fn says(&self, key: Key, number: f64) -> Result<bool> {
        Ok(self.find(key)?.is_some_and(|field| field.any_number() == Some(number)))
    }

    /// A value that is not computed with.
    pub(crate) fn refused(&self, key: Key, value: impl Display) -> Error {
        Error::unsupported(format!("{} {value} is not supported", self.name(key)))
    }

    fn missing(&self, key: Key, expected: &str) -> Error {
        match self.source {
            Source::Config(_) => {
                Error::format(format!("config.json: field `{}` is missing", self.short_name(key)))
            }
            Source::Metadata { .. } => {
                Error::format(format!("{} is missing, expected {expected}", self.name(key)))
            }
        }
    }

    /// A field as errors name it.
    fn name(&self, key: Key) -> String {
        match self.source {
            Source::Config(_) => format!("config.json: {}", self.short_name(key)),
            Source::Metadata { architecture, .. } => format!("GGUF metadata `{architecture}.{}`", key.gguf),
        }
    }

    /// The same beside another.
    fn short_name(&self, key: Key) -> &'static str {
        match self.source {
            Source::Config(map) if !key.older.is_empty() && !map.contains_key(key.json) => key.older,
            Source::Config(_) => key.json,
            Source::Metadata { .. } => key.gguf.rsplit('.').next().unwrap_or(key.gguf),
        }
    }

    /// Takes note of a name that the family knows.
    fn known(&self, name: &'static str) {
        self.asked.borrow_mut().insert(name);
    }

    fn read<T>(&self, key: Key, expected: &str, read: impl Fn(Field<'a>) -> Option<T>) -> Result<Option<T>> {
        let Some(field) = self.find(key)? else { return Ok(None) };
        let wrong = || match field {
            Field::Json(_) => Error::format(format!(
                "config.json: field `{}` is {}, expected {expected}",
                self.short_name(key),
                field.shown()
            )),
            Field::Gguf(value) => {
                Error::format(format!("{} is {}, expected {expected}", self.name(key), value.kind()))
            }
        };
        read(field).map(Some).ok_or_else(wrong)
    }

    /// The value under one of the key's names, if that is there and not null.
    ///
    /// Errors with `Mismatch` if two are there that differ.
    fn find(&self, key: Key) -> Result<Option<Field<'a>>> {
        match self.source {
            Source::Config(map) => {
                let names = [key.json, key.older].map(|name| {
                    let value = map.get(name).filter(|value| !name.is_empty() && !value.is_null())?;
                    self.known(name);
                    Some(value)
                });
                match names {
                    [Some(value), Some(other)] if value != other => {
                        let [value, other] = [value, other].map(|value| Field::Json(value).shown());
                        let Key { json, older, .. } = key;
                        Err(Error::mismatch(format!(
                            "config.json: {older} {other} and {json} {value}, which mean the same"
                        )))
                    }
                    [value, other] => Ok(value.or(other).map(Field::Json)),
                }
            }
            Source::Metadata { .. } if key.gguf.is_empty() => Ok(None),
            Source::Metadata { header, architecture } => {
                self.known(key.gguf);
                Ok(header.metadata.get(&format!("{architecture}.{}", key.gguf)).map(Field::Gguf))
            }
        }
    }
}
