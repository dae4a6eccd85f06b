//! Conversations: the tokens of what a chat template writes, and those that end a turn.
//! Not the template itself, which is text to text: `tokenizer/chat/`.

use serde_json::{Map, Value};

use crate::error::Result;

use crate::engine::Engine;

impl Engine {
    /// What a `tokenizer_config.json` would say: the template that came with the tokenizer, as it does in
    /// a GGUF file, and the special tokens that templates name.
    pub fn tokenizer_config(&self) -> String {
        let config = &self.model.config;
        let token = |id: Option<u32>| self.tokenizer.id_to_token(id?);
        let said = [
            ("chat_template", self.tokenizer.chat_template().map(str::to_owned)),
            ("bos_token", token(config.bos_token_id)),
            ("eos_token", token(config.eos_token_ids.first().copied())),
        ];
        let mut fields = Map::new();
        for (name, text) in said {
            fields.extend(text.map(|text| (name.to_owned(), Value::from(text))));
        }
        Value::Object(fields).to_string()
    }

    /// Token ids of a conversation, as a chat template wrote it.
    ///
    /// Errors as [`Tokenizer::encode`](crate::tokenizer::Tokenizer::encode).
    pub fn encode_chat(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, false)
    }

    /// Tokens that end an answer, those of the model apart: the template's `eos_token`, and the first
    /// token with a meaning of its own in what it writes after an answer. That is an added one, marked as
    /// special or not, or, where there is none, all that it writes, if that is one token.
    ///
    /// Errors as [`encode_chat`](Self::encode_chat).
    pub fn chat_ends(&self, eos_token: Option<&str>, after_answer: Option<&str>) -> Result<Vec<u32>> {
        let tokenizer = &self.tokenizer;
        let mut ends = Vec::from_iter(eos_token.and_then(|token| tokenizer.token_to_id(token)));
        if let Some(text) = after_answer {
            let is_blank = |id| tokenizer.id_to_token(id).is_none_or(|token| token.trim().is_empty());
            // Runs of spaces and line breaks are added tokens of some files, and end nothing.
            let marks = |&id: &u32| tokenizer.is_special(id) || tokenizer.is_added(id) && !is_blank(id);
            let found = self.encode_chat(text)?.into_iter().find(marks);
            ends.extend(found.or_else(|| tokenizer.token_to_id(text.trim())));
        }
        ends.dedup();
        // What the model cannot draw ends nothing.
        ends.retain(|&id| (id as usize) < self.model.config.vocab_size);
        Ok(ends)
    }
}
