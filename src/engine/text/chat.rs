//! From texts and conversations to tokens, and the tokens that end a turn.
//! Not the chat template itself, which is text to text: `tokenizer/chat/`.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::Blueprint;
use crate::tokenizer::Tokenizer;

/// Ids of a prompt, with the special tokens its tokenizer puts around a text.
///
/// Errors with `Argument` for a text of no tokens.
pub(crate) fn encode(tokenizer: &Tokenizer, config: &Blueprint, text: &str) -> Result<Vec<u32>> {
    let mut ids = tokenizer.encode(text, true)?;
    if ids.is_empty() {
        ids.extend(config.bos_token_id);
    }
    if ids.is_empty() {
        return Err(Error::argument("prompt: an empty text, and the model has no token to begin with"));
    }
    Ok(ids)
}

/// Ids of a training example, an end token last if the model has one, and how many are the prompt's.
///
/// Errors with `Format` if the vocabulary cannot spell it.
pub(crate) fn encode_example(
    tokenizer: &Tokenizer,
    config: &Blueprint,
    [prompt, completion]: [&str; 2],
) -> Result<(Vec<u32>, usize)> {
    let (mut ids, mut given) = tokenizer.encode_example(prompt, completion)?;
    if given == 0 {
        ids.splice(0..0, config.bos_token_id);
        given = usize::from(config.bos_token_id.is_some());
    }
    ids.extend(config.eos_token_ids.first());
    Ok((ids, given))
}

/// What a `tokenizer_config.json` would say: the template that came with the tokenizer, as it does in
/// a GGUF file, and the special tokens that templates name.
pub(crate) fn tokenizer_config(tokenizer: &Tokenizer, config: &Blueprint) -> String {
    let token = |id: Option<u32>| tokenizer.id_to_token(id?).map(Value::from);
    let named = |name: &str, template: &str| json!({"name": name, "template": template});
    let template = match (tokenizer.chat_template(), tokenizer.tool_use_template()) {
        (Some(plain), Some(own)) => Some(json!([named("default", plain), named("tool_use", own)])),
        (plain, _) => plain.map(Value::from),
    };
    let said = [
        ("chat_template", template),
        ("bos_token", token(config.bos_token_id)),
        ("eos_token", token(config.eos_token_ids.first().copied())),
    ];
    let mut fields = Map::new();
    for (name, value) in said {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    Value::Object(fields).to_string()
}

/// Tokens that end an answer, those of the model apart: the template's `eos_token`, and the first
/// token with a meaning of its own in what it writes after an answer. That is an added one, marked as
/// special or not, or, where there is none, all that it writes, if that is one token.
///
/// Errors as [`Tokenizer::encode`].
pub(crate) fn chat_ends(
    tokenizer: &Tokenizer,
    config: &Blueprint,
    eos_token: Option<&str>,
    after_answer: Option<&str>,
) -> Result<Vec<u32>> {
    let mut ends = Vec::from_iter(eos_token.and_then(|token| tokenizer.token_to_id(token)));
    if let Some(text) = after_answer {
        let is_blank = |id| tokenizer.id_to_token(id).is_none_or(|token| token.trim().is_empty());
        // Runs of spaces and line breaks are added tokens of some files, and end nothing.
        let marks = |&id: &u32| tokenizer.is_special(id) || tokenizer.is_added(id) && !is_blank(id);
        let found = tokenizer.encode(text, false)?.into_iter().find(marks);
        ends.extend(found.or_else(|| tokenizer.token_to_id(text.trim())));
    }
    ends.dedup();
    // What the model cannot draw ends nothing.
    ends.retain(|&id| (id as usize) < config.vocab_size);
    Ok(ends)
}
