//! Conversations: the tokens of what a chat template writes, and those that end a turn.
//! Not the template itself, which is text to text: `tokenizer/chat/`.

use serde_json::{Map, Value};

use crate::error::Result;

use super::Engine;

impl Engine {
    /// The template that came with the tokenizer, as it does in a GGUF file, and the special tokens
    /// it can name: what a `tokenizer_config.json` would say of them.
    pub fn tokenizer_config(&self) -> Option<String> {
        let source = self.tokenizer.chat_template()?;
        let config = &self.model.config;
        let token = |id: Option<u32>| self.tokenizer.id_to_token(id?);
        let said = [
            ("chat_template", Some(source.to_owned())),
            ("bos_token", token(config.bos_token_id)),
            ("eos_token", token(config.eos_token_ids.first().copied())),
        ];
        let mut fields = Map::new();
        for (name, text) in said {
            fields.extend(text.map(|text| (name.to_owned(), Value::from(text))));
        }
        Some(Value::Object(fields).to_string())
    }

    /// Token ids of a conversation, as a chat template wrote it.
    ///
    /// Errors as [`Tokenizer::encode`](crate::tokenizer::Tokenizer::encode).
    pub fn encode_chat(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, false)
    }

    /// Tokens that end an answer, those of the model apart: the template's `eos_token`, and the first
    /// special one in what it writes after an answer.
    ///
    /// Errors as [`encode_chat`](Self::encode_chat).
    pub fn chat_ends(&self, eos_token: Option<&str>, after_answer: Option<&str>) -> Result<Vec<u32>> {
        let tokenizer = &self.tokenizer;
        let mut ends = Vec::from_iter(eos_token.and_then(|token| tokenizer.token_to_id(token)));
        if let Some(text) = after_answer {
            let ids = self.encode_chat(text)?;
            ends.extend(ids.into_iter().find(|&id| tokenizer.is_special(id)).filter(|id| !ends.contains(id)));
        }
        Ok(ends)
    }
}
