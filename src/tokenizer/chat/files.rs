//! Where a chat template comes from: the files of a model's folder.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ChatTemplate;
use crate::error::{Error, Result};

/// transformers' names of special tokens.
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl ChatTemplate {
    /// From the bytes of `tokenizer_config.json`, which also names the special tokens, and of
    /// `chat_template.jinja`, which goes before the config's `chat_template`.
    ///
    /// Errors with `Unsupported` where neither has a template, `Format` if they are broken, and as
    /// [`new`](Self::new).
    pub fn from_files(tokenizer_config: Option<&[u8]>, jinja: Option<&[u8]>) -> Result<Self> {
        let config = match tokenizer_config {
            Some(json) => serde_json::from_slice(json).map_err(broken)?,
            None => Map::new(),
        };
        let source = match jinja {
            Some(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| Error::format("chat_template.jinja: not UTF-8"))?
            }
            None => template(&config)?,
        };
        Self::new(source, specials(&config))
    }
}

/// The template, or of several with names the one that is called `default`.
fn template(config: &Map<String, Value>) -> Result<&str> {
    match config.get("chat_template") {
        None | Some(Value::Null) => Err(Error::unsupported(
            "chat: the model has no template, neither `chat_template` in tokenizer_config.json nor chat_template.jinja",
        )),
        Some(Value::String(source)) => Ok(source),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|each| each["name"] == "default");
            let source = default.and_then(|each| each["template"].as_str());
            source.ok_or_else(|| broken("`chat_template` has none called `default`"))
        }
        Some(_) => Err(broken("`chat_template` is neither a text nor a list of named ones")),
    }
}

/// A token is written as a text, or as an object with its `content`.
fn specials(config: &Map<String, Value>) -> BTreeMap<String, String> {
    let token = |name: &str| {
        let value = config.get(name)?;
        let content = value.as_str().or_else(|| value["content"].as_str())?;
        Some((name.to_owned(), content.to_owned()))
    };
    SPECIALS.iter().filter_map(|name| token(name)).collect()
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::format(format!("tokenizer_config.json: {error}"))
}
