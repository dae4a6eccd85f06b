//! Ids to text, one id at a time.
//! Not a view of a tokenizer: it holds none, so it can live in a session beside it.

use super::Tokenizer;
use super::steps::{self, StepState};
use crate::error::Result;

/// Decodes a growing sequence of ids. The pieces, joined, are what [`Tokenizer::decode`]
/// makes of all the ids; each ends on a whole character.
///
/// Work per id does not grow with the sequence. Where a file's decoder is SentencePiece's
/// byte fallback, a run of byte tokens is held back until it ends: whether its bytes show as
/// text or as U+FFFD is only known then.
///
/// Pass the same tokenizer every time. No id fails: what has no token is no text.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    skip_special_tokens: bool,
    /// One per step of the tokenizer's decoder, from the first push on.
    states: Vec<StepState>,
}

impl StreamDecoder {
    /// A decoder at the start of a text.
    pub fn new(skip_special_tokens: bool) -> Self {
        Self { skip_special_tokens, states: Vec::new() }
    }

    /// A decoder of what follows a prompt: the first token keeps its leading space.
    pub fn after(tokenizer: &Tokenizer, prompt_ids: &[u32], skip_special_tokens: bool) -> Result<Self> {
        let mut stream = Self::new(skip_special_tokens);
        for &id in prompt_ids {
            stream.push(tokenizer, id)?;
        }
        stream.finish(tokenizer)?;
        Ok(stream)
    }

    /// Takes the next id; gives the text that is now certain, which may be none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String> {
        if self.skip_special_tokens && tokenizer.is_special(id) {
            return Ok(String::new());
        }
        self.push_shown(tokenizer, id)
    }

    /// The same of an id that is shown even if it is a special token.
    pub(crate) fn push_shown(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String> {
        match tokenizer.decodable(id) {
            Some(token) => self.run(tokenizer, vec![token], false),
            None => Ok(String::new()),
        }
    }

    /// Gives what is still held back: an unfinished character shows as U+FFFD. The position
    /// in the text stays, so more ids may follow.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String> {
        self.run(tokenizer, Vec::new(), true)
    }

    fn run(&mut self, tokenizer: &Tokenizer, tokens: Vec<String>, flush: bool) -> Result<String> {
        self.states.resize_with(tokenizer.parts.steps.len(), StepState::default);
        Ok(steps::run(&tokenizer.parts.steps, &mut self.states, tokens, flush))
    }
}
