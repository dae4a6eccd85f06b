//! What the parts of a file have in common, and its post-processor.
//! Not the other parts: `normalize.rs`, `cut.rs` and `steps.rs` are.

use super::regex::Pattern;
use super::{broken, unsupported};
use crate::error::Result;
use serde_json::Value;
/// The components of a part: itself, or what its `Sequence`s list under `members`. None for `null`.
pub(super) fn list<'a>(part: &'a Value, role: &str, members: &str) -> Result<Vec<(&'a str, &'a Value)>> {
    if part.is_null() {
        return Ok(Vec::new());
    }
    match string(part, "type") {
        Some("Sequence") => {
            let listed = part.get(members).and_then(Value::as_array);
            let listed = listed.ok_or_else(|| broken(format!("{role} `Sequence`: no `{members}`")))?;
            let mut all = Vec::new();
            for member in listed {
                all.append(&mut list(member, role, members)?);
            }
            Ok(all)
        }
        Some(kind) => Ok(vec![(kind, part)]),
        None => Err(broken(format!("{role}: no `type`"))),
    }
}

fn string<'a>(part: &'a Value, key: &str) -> Option<&'a str> {
    part.get(key)?.as_str()
}

/// A field that must be there.
pub(super) fn text<'a>(part: &'a Value, key: &str) -> Result<&'a str> {
    string(part, key).ok_or_else(|| lacks(part, key))
}

pub(super) fn flag(part: &Value, key: &str) -> Result<bool> {
    part.get(key).and_then(Value::as_bool).ok_or_else(|| lacks(part, key))
}

pub(super) fn character(part: &Value, key: &str) -> Result<char> {
    let mut chars = text(part, key)?.chars();
    chars.next().filter(|_| chars.next().is_none()).ok_or_else(|| lacks(part, key))
}

fn lacks(part: &Value, key: &str) -> crate::error::Error {
    broken(format!("`{}`: `{key}` is missing or of another type", string(part, "type").unwrap_or_default()))
}

/// What a component looks for: a text, or a pattern that matches no empty text.
pub(super) fn pattern(part: &Value, role: &str) -> Result<Pattern> {
    let kind = string(part, "type").unwrap_or_default();
    let pattern = part.get("pattern").unwrap_or(&Value::Null);
    let (of, to) = if kind == "Replace" { ("of", "replace") } else { ("by", "split at") };
    match (string(pattern, "String"), string(pattern, "Regex")) {
        (Some(""), _) => Err(broken(format!("{role} `{kind}`: an empty string to {to}"))),
        (Some(text), _) => Ok(Pattern::literal(text)),
        (None, Some(regex)) => {
            Pattern::new(regex).ok_or_else(|| unsupported(format!("{role} `{kind}` {of} regex `{regex}`")))
        }
        (None, None) => Err(lacks(part, "pattern")),
    }
}

/// The ids a post-processor puts around a text.
#[derive(Clone, Default)]
pub(super) struct Template {
    pub(crate) before: Vec<u32>,
    pub(crate) after: Vec<u32>,
}

/// `vocab_size`: what the ids must stay below.
pub(super) fn template(part: &Value, vocab_size: usize) -> Result<Template> {
    let mut all = Template::default();
    for (kind, part) in list(part, "post_processor", "processors")? {
        match kind {
            // It moves offsets, which are not kept.
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let Template { mut before, after } = template_for_one(part, vocab_size)?;
                before.append(&mut all.before);
                all.before = before;
                all.after.extend(after);
            }
            "BertProcessing" | "RobertaProcessing" => {
                all.before.insert(0, token_pair(part, "cls", vocab_size)?);
                all.after.push(token_pair(part, "sep", vocab_size)?);
            }
            _ => return Err(unsupported(format!("post_processor `{kind}`"))),
        }
    }
    Ok(all)
}

/// The id of a pair of a token and its id.
fn token_pair(part: &Value, key: &str, vocab_size: usize) -> Result<u32> {
    let id = part.get(key).and_then(|pair| pair.get(1)?.as_u64()).ok_or_else(|| lacks(part, key))?;
    let known = u32::try_from(id).ok().filter(|&id| (id as usize) < vocab_size);
    known.ok_or_else(|| broken(format!("post_processor: `{key}` has id {id}, expected below {vocab_size}")))
}

/// The template for one text names that text once (`A`), and special tokens that it defines.
fn template_for_one(part: &Value, vocab_size: usize) -> Result<Template> {
    let mut template = Template::default();
    let mut seen = false;
    for piece in part.get("single").and_then(Value::as_array).ok_or_else(|| lacks(part, "single"))? {
        if let Some(sequence) = piece.get("Sequence") {
            if seen || string(sequence, "id") != Some("A") {
                return Err(broken("template for one text: expected `A`, once"));
            }
            seen = true;
        } else {
            let name = piece.get("SpecialToken").and_then(|special| string(special, "id"));
            let name = name.ok_or_else(|| broken("template: neither a text nor a special token"))?;
            let ids = part.get("special_tokens").and_then(|all| all.get(name)?.get("ids")?.as_array());
            for id in ids.ok_or_else(|| broken(format!("template: special token `{name}` is not defined")))? {
                let known = id.as_u64().filter(|&id| id < vocab_size as u64);
                let known = known.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                    broken(format!("template: special token `{name}`: id {id}, expected below {vocab_size}"))
                })?;
                if seen { &mut template.after } else { &mut template.before }.push(known);
            }
        }
    }
    if seen { Ok(template) } else { Err(broken("template for one text: expected `A`, once")) }
}
