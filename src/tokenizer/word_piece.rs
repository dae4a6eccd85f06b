//! WordPiece: of a word, the longest token that it begins with, then the longest that goes on, to its end.
//! Not a cut into words: the pre-tokenizer has made them.
//!
//! Followed from `tokenizers` 0.23: a word that is not spelled to its end is unknown as a whole.

use super::broken;
use super::file::Model;
use super::strings::Sorted;
use super::vocabulary::Vocabulary;
use crate::error::Result;

/// Characters of the longest word, if the file says nothing of them.
const MOST_CHARS: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct WordPiece {
    /// What a word begins with.
    first: Sorted,
    /// What goes on with it, without the prefix.
    further: Sorted,
    unknown: Option<u32>,
    most_chars: usize,
}

impl WordPiece {
    pub(super) fn new(model: &Model, vocabulary: &Vocabulary) -> Self {
        let prefix = model.continuing_subword_prefix.as_deref().unwrap_or("##");
        let further = |(token, id): (_, u32)| Some((str::strip_prefix(token, prefix)?, id));
        Self {
            first: Sorted::new(vocabulary.of_model()),
            further: Sorted::new(vocabulary.of_model().filter_map(further)),
            unknown: vocabulary.model_id(model.unk_token.as_deref().unwrap_or("[UNK]")),
            most_chars: model.max_input_chars_per_word.unwrap_or(MOST_CHARS),
        }
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) -> Result<()> {
        let (start, mut at) = (ids.len(), 0);
        while at < word.len() && word.chars().count() <= self.most_chars {
            let tokens = if at == 0 { &self.first } else { &self.further };
            let mut longest = None;
            tokens.starts(word.as_bytes().get(at..).unwrap_or_default(), |len, id| longest = Some((len, id)));
            let Some((len, id)) = longest else { break };
            ids.push(id);
            at += len;
        }
        if at < word.len() {
            ids.truncate(start);
            ids.push(self.unknown.ok_or_else(|| broken("the unknown token is not in the vocabulary"))?);
        }
        Ok(())
    }
}
