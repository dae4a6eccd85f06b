//! Conversations: the model's chat template, and the tokens that end a turn.

use crate::error::{Error, Result};
use crate::tokenizer::{ChatContext, ChatTemplate, Message};

use super::Engine;

/// What an engine needs to chat.
#[derive(Debug)]
pub(super) struct Chat {
    template: ChatTemplate,
    /// Tokens that end an answer, those of the model apart.
    ends: Vec<u32>,
}

impl Engine {
    /// Gives the engine its chat template. The tokens that end an answer are the tokenizer's end
    /// token and the first special one that the template writes after an answer.
    ///
    /// Errors with `Format` if the tokenizer cannot spell what the template writes.
    pub fn set_chat_template(&mut self, template: ChatTemplate) -> Result<()> {
        let tokenizer = &self.tokenizer;
        let mut ends: Vec<u32> = template
            .special("eos_token")
            .and_then(|token| tokenizer.token_to_id(token))
            .into_iter()
            .collect();
        if let Some(end) = template.end_of_turn() {
            let ids = tokenizer.encode(&end, false)?;
            ends.extend(ids.into_iter().find(|&id| tokenizer.is_special(id)).filter(|id| !ends.contains(id)));
        }
        self.chat = Some(Chat { template, ends });
        Ok(())
    }

    /// The template that came with the tokenizer, as it does in a GGUF file.
    ///
    /// Errors as [`ChatTemplate::new`].
    pub fn own_chat_template(&self) -> Result<Option<ChatTemplate>> {
        let Some(source) = self.tokenizer.chat_template() else { return Ok(None) };
        let config = &self.model.config;
        let ids = [("bos_token", config.bos_token_id), ("eos_token", config.eos_token_ids.first().copied())];
        let special =
            |(name, id): (&str, Option<u32>)| Some((name.to_owned(), self.tokenizer.id_to_token(id?)?));
        ChatTemplate::new(source, ids.into_iter().filter_map(special).collect()).map(Some)
    }

    /// Token ids of a conversation, in which the answer is to follow.
    ///
    /// Errors with `Argument` if no template was given, or it refuses the conversation, and as
    /// [`ChatTemplate::render`].
    pub fn encode_chat(&self, messages: &[Message], context: &ChatContext) -> Result<Vec<u32>> {
        let text = self.chat()?.template.render(messages, context)?;
        self.tokenizer.encode(&text, false)
    }

    /// Tokens that end an answer, those of the model apart.
    ///
    /// Errors with `Argument` if no template was given.
    pub fn chat_ends(&self) -> Result<&[u32]> {
        Ok(&self.chat()?.ends)
    }

    fn chat(&self) -> Result<&Chat> {
        self.chat.as_ref().ok_or_else(|| Error::argument("the engine has no chat template"))
    }
}
