//! Text to token ids and back, for one `tokenizer.json` or the tables of a GGUF file.
//! A chat template is text to text, and comes before: [`ChatTemplate`].
//!
//! Plain Rust of our own, judged by the `tokenizers` crate: the same ids, and the same texts. What
//! a browser has already (Unicode's tables) is asked of it.
//!
//! ```text
//! text -> added.rs -> normalize.rs -> added.rs -> cut.rs -> bpe.rs, unigram.rs or word_piece.rs -> ids
//! ids -> vocabulary.rs -> steps.rs -> text, or bytes.rs -> the bytes of each token
//! ```

mod added;
mod bert;
mod bpe;
mod bytes;
mod chat;
mod components;
mod cut;
mod file;
mod gguf;
mod normalize;
mod pre;
mod regex;
mod steps;
mod stream;
mod strings;
mod unicode;
mod unigram;
mod vocabulary;
mod word_piece;

pub use chat::{ChatContext, ChatTemplate, Json, Message};
pub use gguf::GgufTokenizer;
pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use added::Finder;
use bpe::{Bpe, Seen};
use components::Template;
use cut::{Cut, Pieces};
use file::File;
use normalize::{Normalizer, Piece};
use std::borrow::Cow;
use std::sync::Arc;
use steps::Step;
use unigram::Unigram;
use vocabulary::Vocabulary;
use word_piece::WordPiece;

/// A `tokenizer.json`, ready to encode and decode. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    parts: Arc<Parts>,
}

struct Parts {
    /// Added tokens: found in the text as it came, and in the normalized one.
    added: [Finder; 2],
    normalizers: Vec<Normalizer>,
    cuts: Vec<Cut>,
    model: Model,
    /// What the file puts around a text.
    template: Template,
    /// The file's decoder, as steps that can be taken one token at a time.
    steps: Vec<Step>,
    vocabulary: Vocabulary,
    chat_template: Option<String>,
    tool_use_template: Option<String>,
}

enum Model {
    Bpe(Bpe),
    Unigram(Unigram),
    WordPiece(WordPiece),
}

/// A token that is found in a text as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedTokenInfo {
    /// Its id.
    pub id: u32,
    /// As spelled in a text.
    pub content: String,
    /// Whether decoding can skip it.
    pub special: bool,
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
        let parts = File::parse(json).map_err(broken).and_then(Parts::new);
        parts.map(Self::of).map_err(|e| e.context("tokenizer.json"))
    }

    fn of(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The Jinja template that came with the vocabulary, as it is; `tokenizer.json` has none.
    pub fn chat_template(&self) -> Option<&str> {
        self.parts.chat_template.as_deref()
    }

    /// The one beside it for conversations with tools.
    pub(crate) fn tool_use_template(&self) -> Option<&str> {
        self.parts.tool_use_template.as_deref()
    }

    /// The highest id plus one, added tokens included. A model may have more rows than this.
    pub fn vocab_size(&self) -> usize {
        self.parts.vocabulary.size()
    }

    /// The ids of a text; `add_special_tokens` as the file's template says (often one
    /// beginning-of-sequence token in front).
    ///
    /// Errors with `Format` if the vocabulary cannot spell the text and has no unknown token.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let ids = self.parts.encode(text, true)?;
        if !add_special_tokens {
            return Ok(ids);
        }
        let Template { before, after } = &self.parts.template;
        Ok([before, &ids[..], after].concat())
    }

    /// The ids of a text that goes on another: none for the space that a text begins with
    /// (SentencePiece's `▁`), and no template.
    ///
    /// Errors as [`encode`](Self::encode).
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>> {
        self.parts.encode(text, false)
    }

    /// The ids of a prompt and its completion, without what the template puts behind a text, and how many
    /// are the prompt's. They are those of one text, unless a token there would be of both: who has but the
    /// prompt has no such token, and the completion goes on from the prompt's own.
    ///
    /// Errors as [`encode`](Self::encode).
    pub fn encode_example(&self, prompt: &str, completion: &str) -> Result<(Vec<u32>, usize)> {
        let without_end = |text: &str| {
            let mut ids = self.encode(text, true)?;
            ids.truncate(ids.len() - self.parts.template.after.len());
            Ok(ids)
        };
        let mut ids = without_end(prompt)?;
        let (whole, given) = (without_end(&format!("{prompt}{completion}"))?, ids.len());
        if whole.starts_with(&ids) {
            return Ok((whole, given));
        }
        ids.extend(self.encode_continuation(completion)?);
        Ok((ids, given))
    }

    /// The tokens that the file adds to the model's own, by id.
    pub fn added_tokens(&self) -> Vec<AddedTokenInfo> {
        let all = self.parts.vocabulary.added.iter();
        all.map(|(&id, added)| AddedTokenInfo { id, content: added.content.clone(), special: added.special })
            .collect()
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
    pub(crate) fn token_text(&self, id: u32) -> Result<String> {
        let mut stream = StreamDecoder::after(self, &[id], false)?;
        Ok(stream.push(self, id)? + &stream.finish(self)?)
    }

    /// The id of a token as spelled in the vocabulary (`"<s>"`, `"Ġthe"`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.parts.vocabulary.id(token)
    }

    /// A token as spelled in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.parts.vocabulary.token(id).map(str::to_owned)
    }

    /// Whether this id is one of the file's added tokens, which are found in a text before it is cut: those
    /// with a meaning of their own, special ones included.
    pub(crate) fn is_added(&self, id: u32) -> bool {
        self.parts.vocabulary.is_added(id)
    }

    /// Whether the file marks this id as special: decoding can skip it.
    pub fn is_special(&self, id: u32) -> bool {
        self.parts.vocabulary.is_special(id)
    }

    /// The token that decoding starts from; `None` if there is none.
    fn decodable(&self, id: u32) -> Option<String> {
        self.parts.vocabulary.decodable(id).map(str::to_owned)
    }
}

impl Parts {
    /// Checks a file's parts and builds what they say.
    fn new(file: File) -> Result<Self> {
        file.check()?;
        let File { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, mut model } = file;
        let unigram_scores = std::mem::take(&mut model.vocab.scores);
        let (is_list, is_word_piece) = (model.vocab.is_list, model.is_word_piece());
        let mut vocabulary = Vocabulary::new(std::mem::take(&mut model.vocab), &added_tokens)?;
        let template = components::template(&post_processor, vocabulary.size())?;
        let steps = steps::of(&decoder)?;
        let mut cuts = cut::of(&pre_tokenizer)?;
        let normalizers = normalize::of(&normalizer)?;
        let added = added::finders(&mut vocabulary, &added_tokens, &normalizers)?;
        let model = match is_list {
            false if is_word_piece => Model::WordPiece(WordPiece::new(&model, &vocabulary)),
            true => Model::Unigram(Unigram::new(&model, unigram_scores, &vocabulary)?),
            false => Model::Bpe(Bpe::new(&model, &vocabulary)?),
        };
        // A text in many words is merged sooner than one in a piece, and words come again.
        if matches!(&model, Model::Bpe(bpe) if bpe.goes_by_words()) {
            cuts.push(cut::words()?);
        }
        Ok(Self {
            added,
            normalizers,
            cuts,
            model,
            template,
            steps,
            vocabulary,
            chat_template: None,
            tool_use_template: None,
        })
    }

    /// `prefix`: whether the text gets what a text begins with.
    fn encode(&self, text: &str, prefix: bool) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let [as_it_came, normalized] = &self.added;
        as_it_came
            .each(text, |text, start, id| {
                if let Some(id) = id {
                    ids.push(id);
                    return Ok(());
                }
                let prefix = prefix || start > 0;
                let mut piece = Piece { text: Cow::Borrowed(text), first: start == 0 };
                self.normalizers.iter().for_each(|normalizer| normalizer.apply(&mut piece, prefix));
                normalized.each(&piece.text, |text, start, id| match id {
                    Some(id) => {
                        ids.push(id);
                        Ok(())
                    }
                    None => {
                        let first = piece.first && start == 0;
                        self.encode_normalized(Piece { text: Cow::Borrowed(text), first }, prefix, &mut ids)
                    }
                })
            })
            .map_err(|e| e.context("tokenizer"))?;
        Ok(ids)
    }

    fn encode_normalized(&self, piece: Piece, prefix: bool, ids: &mut Vec<u32>) -> Result<()> {
        let mut pieces = Pieces::new(piece);
        self.cuts.iter().for_each(|cut| pieces.cut(cut, prefix));
        let text = pieces.piece.text.as_ref();
        let mut seen = Seen::with_room(pieces.ranges.len());
        for range in pieces.ranges {
            seen.encode(text, range, ids, |word, ids| match &self.model {
                Model::Bpe(bpe) => bpe.encode(&self.vocabulary, word, ids),
                Model::WordPiece(word_piece) => word_piece.encode(word, ids),
                Model::Unigram(unigram) => unigram.encode(&self.vocabulary, word, ids),
            })?;
        }
        Ok(())
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
