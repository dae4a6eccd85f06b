//! A `tokenizer.json`, read once into typed parts.
//! Not a judge of what they say: `vet.rs` is.

use crate::json::unmarked;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;
use tokenizers::models::bpe;

/// The file. Its truncation and padding are not read.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub normalizer: Value,
    #[serde(default)]
    pub pre_tokenizer: Value,
    #[serde(default)]
    pub post_processor: Value,
    #[serde(default)]
    pub decoder: Value,
    #[serde(deserialize_with = "object")]
    pub model: Model,
}

impl File {
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let json = unmarked(json);
        let mut reader = serde_json::Deserializer::from_slice(&json);
        let file = object(&mut reader)?;
        reader.end()?;
        Ok(file)
    }
}

/// `T` from an object only: serde would take its fields from a list as well.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct ObjectVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(entries))
        }
    }

    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

#[derive(Deserialize)]
#[serde(expecting = "an added token")]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub vocab: Vocab,
    #[serde(default)]
    pub merges: Merges,
    pub dropout: Option<f64>,
    pub unk_token: Option<String>,
    pub unk_id: Option<u32>,
    pub continuing_subword_prefix: Option<String>,
    pub end_of_word_suffix: Option<String>,
    pub fuse_unk: Option<bool>,
    pub byte_fallback: Option<bool>,
    pub ignore_merges: Option<bool>,
}

/// Token to id, or Unigram's list of (token, score), whose ids are the positions.
pub(super) enum Vocab {
    Map(bpe::Vocab),
    List(Vec<(String, f64)>),
}

impl Vocab {
    pub fn len(&self) -> usize {
        match self {
            Self::Map(ids) => ids.len(),
            Self::List(pieces) => pieces.len(),
        }
    }

    /// Every token with its id, in no order.
    pub fn tokens(&self) -> Box<dyn Iterator<Item = (&str, u32)> + '_> {
        match self {
            Self::Map(ids) => Box::new(ids.iter().map(|(token, &id)| (token.as_str(), id))),
            Self::List(pieces) => Box::new((0..).zip(pieces).map(|(id, (token, _))| (token.as_str(), id))),
        }
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;

        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vocab, A::Error> {
                let mut ids = bpe::Vocab::default();
                while let Some((token, id)) = entries.next_entry::<String, u32>()? {
                    if ids.contains_key(&token) {
                        return Err(A::Error::custom(format_args!("token `{token}` appears twice")));
                    }
                    ids.insert(token, id);
                }
                Ok(Vocab::Map(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vocab, A::Error> {
                let mut pieces = Vec::new();
                while let Some(piece) = entries.next_element()? {
                    pieces.push(piece);
                }
                Ok(Vocab::List(pieces))
            }
        }

        deserializer.deserialize_any(VocabVisitor)
    }
}

/// Pairs of tokens, written `"a b"` or `["a", "b"]`, the first to be merged first.
#[derive(Default)]
pub(super) struct Merges(pub bpe::Merges);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let merges = Option::<Vec<Merge>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self(merges.into_iter().filter_map(|Merge(pair)| pair).collect()))
    }
}

/// One merge; `None` is the version line with which a list of lines may start.
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;

        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Merge, E> {
                if line.starts_with("#version") {
                    return Ok(Merge(None));
                }
                match line.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => Ok(Merge(Some((a.to_owned(), b.to_owned())))),
                    _ => Err(E::custom(format_args!("merge `{line}`: expected two tokens and a space"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Merge, A::Error> {
                let a = tokens.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let b = tokens.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                Ok(Merge(Some((a, b))))
            }
        }

        deserializer.deserialize_any(MergeVisitor)
    }
}
