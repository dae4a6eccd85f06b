//! What every family says in the same words: sizes, activation, tied or not, tokens that begin and end.
//! Not the fields of one family.

use serde_json::Value as Json;

use super::rope::ROTATED;
use super::{Fields, Key, Source};
use crate::activation::Activation;
use crate::error::{Error, Result};

const TIED: Key = Key::new("tie_word_embeddings", "");
const VALUE_DIM: Key = Key::new("", "attention.value_length");
const VOCAB_SIZE: Key = Key::new("vocab_size", "vocab_size");

/// Deepest model accepted.
pub(in crate::model) const MAX_LAYERS: usize = 1024;

impl Fields<'_> {
    /// `L`
    pub(crate) fn layers(&self, key: Key) -> Result<usize> {
        let layers = self.needed(key)?;
        match &self.source {
            _ if layers <= MAX_LAYERS => Ok(layers),
            Source::Config(_) => Err(out_of_range(self.short_name(key), layers).context("config.json")),
            Source::Metadata { .. } => Err(Error::unsupported(format!(
                "{} is {layers}, expected at most {MAX_LAYERS}",
                self.name(key)
            ))),
        }
    }

    /// `V`: of a GGUF file the rows of the embedding, which a vocabulary may have fewer of.
    pub(crate) fn vocab_size(&self) -> Result<usize> {
        let Source::Metadata { header, .. } = self.source else { return self.needed(VOCAB_SIZE) };
        let embedding = header.tensor("token_embd.weight");
        let rows = embedding.and_then(|embedding| embedding.shape.first().copied());
        let rows = rows.ok_or_else(|| Error::mismatch("tensor `token_embd.weight` is missing"))?;
        match self.count(VOCAB_SIZE)?.filter(|&says| says != rows) {
            Some(says) => Err(Error::mismatch(format!(
                "{} is {says}, tensor `token_embd.weight` has {rows} rows",
                self.name(VOCAB_SIZE)
            ))),
            None => Ok(rows),
        }
    }

    /// `D` of heads that are rotated wholly: what `key` says, or what transformers takes where it is missing,
    /// or an equal part of C for each head.
    pub(crate) fn head_dim(&self, key: Key, sizes: [Key; 2], default: Option<usize>) -> Result<usize> {
        let head_dim = self.any_head_dim(key, sizes, default)?;
        self.same_size(ROTATED, head_dim)?;
        Ok(head_dim)
    }

    /// The same of heads that may be rotated in part.
    pub(crate) fn any_head_dim(
        &self,
        key: Key,
        [hidden, heads]: [Key; 2],
        default: Option<usize>,
    ) -> Result<usize> {
        let (c, h) = (self.needed(hidden)?, self.needed(heads)?);
        let default = default.filter(|_| !self.are_metadata());
        let head_dim = match self.count(key)?.or(default) {
            Some(d) => d,
            None if c.checked_rem(h) == Some(0) => c / h,
            None => {
                return Err(Error::mismatch(format!(
                    "{} {c} is no multiple of {} {h}",
                    self.name(hidden),
                    self.short_name(heads)
                )));
            }
        };
        self.same_size(VALUE_DIM, head_dim)?;
        Ok(head_dim)
    }

    fn same_size(&self, key: Key, head_dim: usize) -> Result<()> {
        match self.count(key)?.filter(|&other| other != head_dim) {
            Some(other) => Err(self.refused(key, format_args!("{other} beside a key length of {head_dim}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn activation(&self, key: Key, default: Activation) -> Result<Activation> {
        Ok(match self.text(key)? {
            None => default,
            Some("silu" | "swish") => Activation::Silu,
            Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some(other) => return Err(self.refused(key, format_args!("`{other}`"))),
        })
    }

    /// Whether the head is the embedding: said by `config.json`, seen in a GGUF file.
    pub(crate) fn tied(&self, default: bool) -> Result<bool> {
        match self.has_tensor("output.weight") {
            Some(head) => Ok(!head),
            None => Ok(self.flag(TIED)?.unwrap_or(default)),
        }
    }

    /// The token that begins a text.
    pub(crate) fn bos(&self) -> Result<Option<u32>> {
        match self.source {
            Source::Config(map) => {
                self.known("bos_token_id");
                Ok(token_ids(map.get("bos_token_id"), "bos_token_id")?.first().copied())
            }
            Source::Metadata { header, .. } => header.token_id("bos_token_id"),
        }
    }

    /// The tokens that end a text.
    pub(crate) fn eos(&self) -> Result<Vec<u32>> {
        match self.source {
            Source::Config(map) => {
                self.known("eos_token_id");
                token_ids(map.get("eos_token_id"), "eos_token_id")
            }
            Source::Metadata { header, .. } => {
                let mut ids = Vec::new();
                for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
                    let id = header.token_id(name)?;
                    ids.extend(id.filter(|id| !ids.contains(id)));
                }
                Ok(ids)
            }
        }
    }
}

/// A token id, a list of them, or nothing.
pub(in crate::model) fn token_ids(value: Option<&Json>, name: &str) -> Result<Vec<u32>> {
    let one = |v: &Json| {
        v.as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::format(format!("config.json: {name} {v} is not a token id")))
    };
    match value {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Array(list)) => list.iter().map(one).collect(),
        Some(v) => Ok(vec![one(v)?]),
    }
}

pub(in crate::model) fn out_of_range(name: &str, value: usize) -> Error {
    Error::unsupported(format!("{name} {value} is out of range"))
}
