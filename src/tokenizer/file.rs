//! A `tokenizer.json`, read once into typed parts.
//! Not a judge of what they say: `check` is all it looks at, the parts judge themselves.

use crate::json::unmarked;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, Expected, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;

use super::strings::Strings;
use super::{broken, unsupported};

/// The file. Its truncation and padding are not read.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(crate) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(crate) normalizer: Value,
    #[serde(default)]
    pub(crate) pre_tokenizer: Value,
    #[serde(default)]
    pub(crate) post_processor: Value,
    #[serde(default)]
    pub(crate) decoder: Value,
    #[serde(deserialize_with = "object")]
    pub(crate) model: Model,
}

impl File {
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let json = unmarked(json);
        let mut reader = serde_json::Deserializer::from_slice(&json);
        let file = object(&mut reader)?;
        reader.end()?;
        Ok(file)
    }

    /// Errors with `Format` or `Unsupported` if the model is none that is run here.
    pub(super) fn check(&self) -> crate::error::Result<()> {
        let model = &self.model;
        match (model.kind.as_deref(), model.vocab.is_list) {
            (None | Some("BPE" | "WordPiece"), false) | (None | Some("Unigram"), true) => {}
            (Some(kind @ ("BPE" | "WordPiece" | "Unigram")), _) => {
                return Err(broken(format!("model `{kind}` with the vocabulary of another")));
            }
            (Some(kind), _) => return Err(unsupported(format!("model `{kind}`"))),
        }
        if model.vocab.tokens.len() == 0 {
            return Err(broken("the vocabulary is empty"));
        }
        if model.dropout.is_some_and(|p| p != 0.0) {
            return Err(unsupported("model with dropout"));
        }
        let prefix = model.continuing_subword_prefix.as_ref().filter(|_| !model.is_word_piece());
        for affix in [prefix, model.end_of_word_suffix.as_ref()] {
            if let Some(affix) = affix.filter(|affix| !affix.is_empty()) {
                return Err(unsupported(format!("model with `{affix}` at the parts of a word")));
            }
        }
        let added = self.added_tokens.iter().map(|token| token.content.as_str());
        match model.vocab.tokens.iter().chain(added).map(str::len).find(|&bytes| bytes > MAX_TOKEN_BYTES) {
            Some(bytes) => {
                Err(broken(format!("a token of {bytes} bytes, expected at most {MAX_TOKEN_BYTES}")))
            }
            None => Ok(()),
        }
    }
}

/// Longer tokens are taken for a lie.
const MAX_TOKEN_BYTES: usize = u16::MAX as usize;

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
    pub(crate) id: u32,
    pub(crate) content: String,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    pub(crate) normalized: bool,
    pub(crate) special: bool,
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) vocab: Vocab,
    #[serde(default)]
    pub(crate) merges: Merges,
    pub(crate) dropout: Option<f64>,
    pub(crate) unk_token: Option<String>,
    pub(crate) unk_id: Option<u32>,
    pub(crate) continuing_subword_prefix: Option<String>,
    pub(crate) end_of_word_suffix: Option<String>,
    pub(crate) fuse_unk: Option<bool>,
    pub(crate) byte_fallback: Option<bool>,
    pub(crate) ignore_merges: Option<bool>,
    /// WordPiece's.
    pub(crate) max_input_chars_per_word: Option<usize>,
}

impl Model {
    /// Old files name no kind; of theirs, WordPiece's alone say how long a word may be.
    pub(super) fn is_word_piece(&self) -> bool {
        match self.kind.as_deref() {
            None => self.max_input_chars_per_word.is_some() && !self.vocab.is_list,
            Some(kind) => kind == "WordPiece",
        }
    }
}

/// Tokens with their ids, or Unigram's list of (token, score), whose ids are the positions.
#[derive(Default)]
pub(super) struct Vocab {
    pub(crate) tokens: Strings,
    /// Of a map: each token's.
    pub(crate) ids: Vec<u32>,
    /// Of a list: each token's.
    pub(crate) scores: Vec<f64>,
    pub(crate) is_list: bool,
}

/// A string, onto the end of others.
struct Push<'s>(&'s mut Strings);

impl<'de> DeserializeSeed<'de> for Push<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Push<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E: serde::de::Error>(self, token: &str) -> Result<(), E> {
        self.0.push(token);
        Ok(())
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
                let mut vocab = Vocab::default();
                while entries.next_key_seed(Push(&mut vocab.tokens))?.is_some() {
                    vocab.ids.push(entries.next_value()?);
                }
                Ok(vocab)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vocab, A::Error> {
                let mut vocab = Vocab { is_list: true, ..Vocab::default() };
                while let Some((token, score)) = entries.next_element::<(String, f64)>()? {
                    vocab.tokens.push(&token);
                    vocab.ids.push(vocab.scores.len() as u32);
                    vocab.scores.push(score);
                }
                Ok(vocab)
            }
        }

        deserializer.deserialize_any(VocabVisitor)
    }
}

/// Pairs of tokens, written `"a b"` or `["a", "b"]`, the first to be merged first.
#[derive(Default)]
pub(super) struct Merges(Strings);

impl Merges {
    pub(super) fn push(&mut self, a: &str, b: &str) {
        self.0.push(a);
        self.0.push(b);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).filter_map(|at| Some((self.0.get(2 * at)?, self.0.get(2 * at + 1)?)))
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergesVisitor;

        impl<'de> Visitor<'de> for MergesVisitor {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Merges, E> {
                Ok(Merges::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while entries.next_element_seed(Pair(&mut merges))?.is_some() {}
                Ok(merges)
            }
        }

        deserializer.deserialize_any(MergesVisitor)
    }
}

/// One merge, onto the end of others; a list of lines may start with that of its version.
struct Pair<'m>(&'m mut Merges);

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge of two tokens")
    }

    fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<(), E> {
        if line.starts_with("#version") {
            return Ok(());
        }
        let (a, b) = two_tokens(line).map_err(E::custom)?;
        self.0.push(a, b);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<(), A::Error> {
        for at in 0..2 {
            let expected: &dyn Expected = &"a merge of two tokens";
            let token = tokens.next_element_seed(Push(&mut self.0.0))?;
            token.ok_or_else(|| A::Error::invalid_length(at, expected))?;
        }
        Ok(())
    }
}

/// The two tokens of a line, or what is wrong with it.
pub(super) fn two_tokens(line: &str) -> Result<(&str, &str), String> {
    match line.split_once(' ') {
        Some((a, b)) if !b.contains(' ') => Ok((a, b)),
        _ => Err(format!("merge `{line}`: expected two tokens and a space")),
    }
}
