//! Text to token ids and back, for one `tokenizer.json` or the tables of a GGUF file.
//! A chat template is text to text, and comes before: [`ChatTemplate`].
//!
//! Encoding is the `tokenizers` crate's, handed the parts we read and vetted (its own reader of
//! 1.0 files parses them twice). Decoding is our own ([`StreamDecoder`]), because a page shows
//! tokens as they come, and the crate's stream borrows the tokenizer, decodes everything since
//! the last whole character again at each step, and fails on ids that make no valid UTF-8. The
//! stable release of the crate judges both.

mod chat;
mod components;
mod file;
mod gguf;
mod model;
mod steps;
mod stream;
mod vet;
mod vocabulary;

pub use chat::{ChatContext, ChatTemplate, Message};
pub use gguf::GgufTokenizer;
pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use components::Template;
use file::File;
use steps::Step;
use tokenizers::pipeline::{EncodeOptions, PipelinePostProcessor, PipelineTokenizer};
use vocabulary::Vocabulary;

/// A `tokenizer.json`, ready to encode and decode.
#[derive(Clone)]
pub struct Tokenizer {
    pipeline: PipelineTokenizer,
    /// What the file puts around a text.
    template: Template,
    /// The file's decoder, as steps that can be taken one token at a time.
    steps: Vec<Step>,
    vocabulary: Vocabulary,
    chat_template: Option<String>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Parses and validates a `tokenizer.json`. Its truncation and padding are ignored: a
    /// prompt is never cut silently.
    ///
    /// Errors with `Format` if the file contradicts itself, `Unsupported` if it names a
    /// component this crate does not run.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        File::parse(json).map_err(broken).and_then(Self::new).map_err(|e| e.context("tokenizer.json"))
    }

    /// Vets a file's parts and builds what they say.
    fn new(file: File) -> Result<Self> {
        vet::check(&file)?;
        let mut vocabulary = Vocabulary::new(&file.model.vocab, &file.added_tokens)?;
        let template = components::template(&file.post_processor, vocabulary.size())?;
        let steps = steps::of(&file.decoder)?;
        let mut cut = components::pre_tokenizer(&file.pre_tokenizer)?;
        let mut normalizers = components::normalizers(&file.normalizer)?;
        cut.check_start(&normalizers)?;
        let added = vocabulary::added(&mut vocabulary, &file, &normalizers, cut.metaspace.is_some())?;
        normalizers.extend(cut.metaspace.take());
        let model = model::build(file.model, cut.byte_level)?;
        let pipeline = PipelineTokenizer::from_parts(
            added,
            normalizers,
            cut.pre_tokenizer,
            model,
            PipelinePostProcessor::default(),
            None,
            Default::default(),
            None,
            None,
        );
        Ok(Self { pipeline, template, steps, vocabulary, chat_template: None })
    }

    /// The Jinja template that came with the vocabulary, as it is; `tokenizer.json` has none.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// The highest id plus one, added tokens included. A model may have more rows than this.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.size()
    }

    /// The ids of a text; `add_special_tokens` as the file's template says (often one
    /// beginning-of-sequence token in front).
    ///
    /// Errors with `Format` if the vocabulary cannot spell the text and has no unknown token.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        let encoded = self.pipeline.encode_into(text, &EncodeOptions::no_specials(), &mut tokens);
        encoded.map_err(|e| broken(e).context("tokenizer"))?;
        let ids = tokens.into_iter().map(u32::from);
        if !add_special_tokens {
            return Ok(ids.collect());
        }
        let Template { before, after } = &self.template;
        Ok(before.iter().copied().chain(ids).chain(after.iter().copied()).collect())
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

    /// The text that a token stands for after others; U+FFFD for bytes that are no character alone.
    pub fn token_text(&self, id: u32) -> Result<String> {
        let mut stream = StreamDecoder::after(self, &[id], false)?;
        Ok(stream.push(self, id)? + &stream.finish(self)?)
    }

    /// The id of a token as spelled in the vocabulary (`"<s>"`, `"Ġthe"`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.vocabulary.id(token)
    }

    /// A token as spelled in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.vocabulary.token(id).map(str::to_owned)
    }

    /// Whether this id is one of the file's added tokens, which are found in a text before it is cut: those
    /// with a meaning of their own, special ones included.
    pub fn is_added(&self, id: u32) -> bool {
        self.vocabulary.is_added(id)
    }

    /// Whether the file marks this id as special: decoding can skip it.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.is_special(id)
    }

    /// The token that decoding starts from; `None` if it is to be skipped, or there is none.
    fn decodable(&self, id: u32, skip_special_tokens: bool) -> Option<String> {
        if skip_special_tokens && self.is_special(id) {
            return None;
        }
        self.vocabulary.decodable(id).map(str::to_owned)
    }
}

/// What is wrong in the file, said by whoever found it.
fn broken(error: impl std::fmt::Display) -> Error {
    Error::format(error.to_string())
}

/// What the file asks for and this crate does not run.
fn unsupported(what: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("{what}: not supported"))
}
