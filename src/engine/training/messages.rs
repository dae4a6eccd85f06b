//! Messages of a conversation in a dataset, as a chat template is given them.
//! Not what roles a template knows: that is the template's.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::tokenizer::Message;

const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Longest part of a value that an error shows, in characters.
const SHOWN: usize = 60;

/// The messages in `given`; `name` is where it is.
///
/// Errors with `Argument` for what is no message, `Unsupported` for a role or a field that templates are not
/// given.
pub(super) fn check(name: &str, given: Option<&Value>) -> Result<Vec<Message>> {
    match given.and_then(Value::as_array).filter(|messages| !messages.is_empty()) {
        Some(messages) => {
            messages.iter().enumerate().map(|(i, each)| message(&format!("{name}[{i}]"), each)).collect()
        }
        None => Err(wrong(name, given, "an array of messages")),
    }
}

/// An error about one value, which is cut to a readable length.
pub(super) fn wrong(name: &str, value: Option<&Value>, expected: &str) -> Error {
    let shown = value.map_or_else(|| "undefined".to_owned(), Value::to_string);
    let cut = shown.char_indices().nth(SHOWN).map(|(end, _)| format!("{}…", &shown[..end]));
    Error::argument(format!("{name} {}, expected {expected}", cut.unwrap_or(shown)))
}

fn message(at: &str, given: &Value) -> Result<Message> {
    let fields: &Map<String, Value> =
        given.as_object().ok_or_else(|| wrong(at, Some(given), "{role, content}"))?;
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let is_known = |name: &str| ["role", "content", "name"].contains(&name);
    if let Some((name, _)) = fields.iter().find(|(name, value)| !is_known(name) && !is_empty(value)) {
        return Err(Error::unsupported(format!("{at}: `{name}` is not supported")));
    }
    let names = ROLES.join(", ");
    let role = fields.get("role").and_then(Value::as_str);
    let role = role.ok_or_else(|| wrong(&format!("{at}: role"), fields.get("role"), &names))?;
    if !ROLES.contains(&role) {
        return Err(Error::unsupported(format!("{at}: role `{role}` is not supported, expected {names}")));
    }
    let name = match fields.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()).filter(|name| !name.is_empty()),
        other => return Err(wrong(&format!("{at}: name"), other, "a text")),
    };
    Ok(Message { role: role.to_owned(), content: content(at, fields.get("content"))?, name })
}

/// A string, or parts that are joined by line breaks.
fn content(at: &str, content: Option<&Value>) -> Result<String> {
    match content {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().enumerate().map(|(i, each)| part(at, i, each));
            Ok(texts.collect::<Result<Vec<_>>>()?.join("\n"))
        }
        other => Err(wrong(&format!("{at}: content"), other, "a text or parts of type `text`")),
    }
}

fn part<'a>(at: &str, i: usize, part: &'a Value) -> Result<&'a str> {
    let kind = part.get("type").and_then(Value::as_str);
    if let Some(kind) = kind.filter(|kind| *kind != "text") {
        return Err(Error::unsupported(format!(
            "{at}: a part of type `{kind}` is not supported, expected `text`"
        )));
    }
    let text = part.get("text").and_then(Value::as_str).filter(|_| kind.is_some());
    text.ok_or_else(|| wrong(&format!("{at}: content[{i}]"), Some(part), "{type: \"text\", text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_taken_or_what_is_wrong_is_said() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let given =
            json!([{"role": "user", "content": parts, "name": "", "refusal": null, "tool_calls": []}]);
        let message = Message { role: "user".to_owned(), content: "a\nb".to_owned(), name: None };
        assert_eq!(check("m", Some(&given)).expect("valid"), [message]);
        let cases = [
            (json!([5]), "m[0] 5, expected {role, content}"),
            (
                json!([{"role": "user", "content": "a", "tool_calls": [1]}]),
                "m[0]: `tool_calls` is not supported",
            ),
            (json!([{"content": "a"}]), "m[0]: role undefined, expected system, user, assistant"),
            (
                json!([{"role": "tool", "content": "a"}]),
                "m[0]: role `tool` is not supported, expected system, user, assistant",
            ),
            (json!([{"role": "user", "content": "a", "name": 1}]), "m[0]: name 1, expected a text"),
            (json!([{"role": "user"}]), "m[0]: content undefined, expected a text or parts of type `text`"),
            (
                json!([{"role": "user", "content": [{"type": "image"}]}]),
                "m[0]: a part of type `image` is not supported, expected `text`",
            ),
            (
                json!([{"role": "user", "content": [1]}]),
                "m[0]: content[0] 1, expected {type: \"text\", text}",
            ),
        ];
        for (given, want) in cases {
            assert_eq!(check("m", Some(&given)).expect_err("refused").to_string(), want);
        }
    }
}
