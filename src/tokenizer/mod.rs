//! Text to token ids and back, for one `tokenizer.json`.
//! Not a chat template: that is text to text, and comes before.
//!
//! Encoding is the `tokenizers` crate's. Decoding is our own ([`StreamDecoder`]), because a
//! page shows tokens as they come, and the crate's stream borrows the tokenizer, decodes
//! everything since the last whole character again at each step, and fails on ids that make
//! no valid UTF-8. The two agree on every list of ids; tests hold them together.

mod steps;
mod stream;
mod vet;

pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use steps::Step;
use tokenizers::Model as _;

/// A `tokenizer.json`, ready to encode and decode.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The file's decoder, as steps that can be taken one token at a time.
    steps: Vec<Step>,
    vocab_size: usize,
}

impl Tokenizer {
    /// Parses and validates a `tokenizer.json`. Its truncation and padding are ignored: a
    /// prompt is never cut silently.
    ///
    /// Errors with `Format` if the file contradicts itself, `Unsupported` if it names a
    /// component this crate does not run.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let outline = vet::Outline::parse(json)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(broken)?;
        outline.check_added_tokens(&inner)?;
        inner.with_truncation(None).map_err(broken)?;
        inner.with_padding(None);
        let steps = steps::of(inner.get_decoder())?;
        Ok(Self { inner, steps, vocab_size: outline.vocab_size() })
    }

    /// The highest id plus one, added tokens included. A model may have more rows than this.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The ids of a text; `add_special_tokens` as the file's template says (often one
    /// beginning-of-sequence token in front).
    ///
    /// Errors with `Format` if the vocabulary cannot spell the text and has no unknown token.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special_tokens).map_err(broken)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some ids. Ids outside the vocabulary are no text; bytes that are no UTF-8
    /// become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let mut stream = StreamDecoder::new(skip_special_tokens);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&stream.push(self, id)?);
        }
        text.push_str(&stream.finish(self)?);
        Ok(text)
    }

    /// The id of a token as spelled in the vocabulary (`"<s>"`, `"Ġthe"`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A token as spelled in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether the file marks this id as special: decoding can skip it.
    pub fn is_special(&self, id: u32) -> bool {
        self.id_to_token(id).is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// The token that decoding starts from; `None` if it is to be skipped, or there is none.
    fn decodable(&self, id: u32, skip_special_tokens: bool) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        let token = added.simple_id_to_token(id).or_else(|| self.inner.get_model().id_to_token(id))?;
        (!skip_special_tokens || !added.is_special_token(&token)).then_some(token)
    }
}

/// An error of the `tokenizers` crate, which says what is wrong but not in which file.
fn broken(error: tokenizers::Error) -> Error {
    Error::format(format!("tokenizer: {error}"))
}
