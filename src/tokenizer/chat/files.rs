//! Where a chat template comes from: the files of a model's folder.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{ChatTemplate, DEFAULT, TOOL_USE};
use crate::error::{Error, Result};
use crate::json::unmarked;

/// transformers' names of special tokens.
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl ChatTemplate {
    /// From the bytes of `tokenizer_config.json`, which also names the special tokens, of
    /// `chat_template.jinja`, which goes before the config's `chat_template`, and of
    /// `chat_template.json`, which goes after it. Of several with names `default` is taken, and `tool_use` where
    /// there are tools.
    ///
    /// Errors with `Unsupported` where none has a template, `Format` if they are broken, and as
    /// [`new`](Self::new).
    pub fn from_files(
        tokenizer_config: Option<&[u8]>,
        jinja: Option<&[u8]>,
        json: Option<&[u8]>,
    ) -> Result<Self> {
        let config = fields(CONFIG, tokenizer_config)?;
        let own = fields(JSON, json)?;
        let jinja = jinja.map(unmarked);
        let (source, tool_use) = match &jinja {
            Some(bytes) => {
                let source = std::str::from_utf8(bytes);
                (source.map_err(|_| Error::format("chat_template.jinja: not UTF-8"))?, None)
            }
            None => match template(CONFIG, &config)? {
                Some(source) => (source, named(&config, TOOL_USE)),
                None => (template(JSON, &own)?.ok_or_else(none)?, named(&own, TOOL_USE)),
            },
        };
        let mut template = Self::new(source, specials(&config))?;
        if let Some(source) = tool_use {
            template.add(TOOL_USE, source)?;
        }
        Ok(template)
    }

    /// Whether [`from_files`](Self::from_files) would find a template.
    ///
    /// Errors with `Format` if the files are broken.
    pub fn is_in_files(
        tokenizer_config: Option<&[u8]>,
        jinja: Option<&[u8]>,
        json: Option<&[u8]>,
    ) -> Result<bool> {
        let has = |name, bytes| Ok::<_, Error>(template(name, &fields(name, bytes)?)?.is_some());
        Ok(jinja.is_some() || has(CONFIG, tokenizer_config)? || has(JSON, json)?)
    }
}

const CONFIG: &str = "tokenizer_config.json";
const JSON: &str = "chat_template.json";

fn fields(name: &str, json: Option<&[u8]>) -> Result<Map<String, Value>> {
    let Some(json) = json else { return Ok(Map::new()) };
    serde_json::from_slice(&unmarked(json)).map_err(|e| broken(name, e))
}

fn none() -> Error {
    Error::unsupported(
        "chat: the model has no template, neither `chat_template` in tokenizer_config.json nor chat_template.jinja; one can be given as `chatTemplate`",
    )
}

/// The template in a file, or of several with names the one that is called `default`.
fn template<'a>(file: &str, fields: &'a Map<String, Value>) -> Result<Option<&'a str>> {
    match fields.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(source)) => Ok(Some(source)),
        Some(Value::Array(_)) => {
            let source = named(fields, DEFAULT);
            source.map(Some).ok_or_else(|| broken(file, "`chat_template` has none called `default`"))
        }
        Some(_) => Err(broken(file, "`chat_template` is neither a text nor a list of named ones")),
    }
}

/// Of several templates in a file the one of this name.
fn named<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get("chat_template")?.as_array()?.iter().find(|each| each["name"] == name)?["template"].as_str()
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

fn broken(file: &str, error: impl std::fmt::Display) -> Error {
    Error::format(format!("{file}: {error}"))
}
