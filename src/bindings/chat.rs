//! Chat templates for JavaScript: files and conversations in, text out.
//! Not tokens: the engine has them, in a module of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::JsResult;
use crate::error::Error;
use crate::format::{explained, refuse_foreign};
use crate::tokenizer::{ChatContext, ChatTemplate, Json};

/// A compiled chat template.
#[wasm_bindgen(js_name = ChatTemplate)]
pub struct JsChatTemplate(ChatTemplate);

#[wasm_bindgen(js_class = ChatTemplate)]
impl JsChatTemplate {
    /// From the bytes of `tokenizer_config.json`, `chat_template.jinja` and `chat_template.json`.
    #[wasm_bindgen(js_name = fromFiles)]
    pub fn from_files(
        config: Option<Vec<u8>>,
        jinja: Option<Vec<u8>>,
        json: Option<Vec<u8>>,
    ) -> JsResult<Self> {
        if let Some(jinja) = jinja.as_deref().filter(|jinja| !jinja.is_empty()) {
            refuse_foreign("chat_template.jinja", jinja)?;
        }
        let template = ChatTemplate::from_files(config.as_deref(), jinja.as_deref(), json.as_deref());
        Ok(Self(template.map_err(|e| told(config, e))?))
    }

    /// Whether there is a template in them.
    #[wasm_bindgen(js_name = isInFiles)]
    pub fn is_in_files(
        config: Option<Vec<u8>>,
        jinja: Option<Vec<u8>>,
        json: Option<Vec<u8>>,
    ) -> JsResult<bool> {
        let is_there = ChatTemplate::is_in_files(config.as_deref(), jinja.as_deref(), json.as_deref());
        Ok(is_there.map_err(|e| told(config, e))?)
    }

    /// The text of a conversation, as JSON: {messages: [{role, content, ...}], add_generation_prompt, now,
    /// tools?, documents?, variables}.
    pub fn render(&self, conversation: &str) -> JsResult<String> {
        let Conversation { messages, add_generation_prompt, now, tools, documents, variables } =
            serde_json::from_str(conversation).map_err(|e| Error::argument(format!("messages: {e}")))?;
        let context = ChatContext { add_generation_prompt, now, tools, documents, variables };
        Ok(self.0.render(&messages, &context)?)
    }

    /// What the template is, for conversations with tools or without.
    pub fn source(&self, has_tools: bool) -> JsResult<String> {
        Ok(self.0.source(has_tools)?)
    }

    /// A special token by its name, such as `eos_token`.
    pub fn special(&self, name: &str) -> Option<String> {
        self.0.special(name).map(str::to_owned)
    }

    /// What the template writes after an answer.
    #[wasm_bindgen(js_name = endOfTurn)]
    pub fn end_of_turn(&self) -> Option<String> {
        self.0.end_of_turn()
    }
}

/// The error of reading a `tokenizer_config.json`, or what that is instead.
fn told(config: Option<Vec<u8>>, error: Error) -> Error {
    match config {
        Some(config) => explained("tokenizer_config.json", &config, error),
        None => error,
    }
}

/// A conversation, from JSON, which keeps types and the order of keys.
#[derive(Deserialize)]
struct Conversation {
    messages: Json,
    /// Whether the answer is to follow.
    add_generation_prompt: bool,
    /// Seconds since 1970 on the local clock.
    now: i64,
    tools: Option<Json>,
    documents: Option<Json>,
    variables: BTreeMap<String, Json>,
}
