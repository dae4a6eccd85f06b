//! Values for templates as JSON has them, and the arguments of calls, which OpenAI writes as a string.

use minijinja::value::{Serde, Value, ValueKind};
use serde::{Deserialize, Serialize};

/// A value from JSON, the keys of its objects in the order they were written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Json(pub(super) Value);

impl Json {
    /// Anything that has a form in JSON.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Self {
        Self(Value::from(Serde(value)))
    }
}

/// Where the arguments of calls are in a list of messages; `*` is every item.
const ARGUMENTS: [&str; 5] = ["*", "tool_calls", "*", "function", "arguments"];

/// Messages with the arguments of their calls as the object that a string spells; `None` where no string does.
pub(super) fn with_arguments_as_objects(messages: &Value) -> Option<Value> {
    changed(messages, &ARGUMENTS)
}

/// `value` with what is at `path` parsed; `None` where that changes nothing.
fn changed(value: &Value, path: &[&str]) -> Option<Value> {
    let Some((&first, rest)) = path.split_first() else {
        let parsed: Value = serde_json::from_str(value.as_str()?).ok()?;
        return (parsed.kind() == ValueKind::Map).then_some(parsed);
    };
    if first == "*" {
        let items: Vec<Value> = (value.kind() == ValueKind::Seq).then(|| value.try_iter().ok())??.collect();
        let new: Vec<Option<Value>> = items.iter().map(|item| changed(item, rest)).collect();
        let is_changed = new.iter().any(Option::is_some);
        return is_changed.then(|| new.into_iter().zip(items).map(|(new, old)| new.unwrap_or(old)).collect());
    }
    let new = changed(&value.get_attr(first).ok()?, rest)?;
    let entry = |key: Value| {
        let entry = if key.as_str() == Some(first) { new.clone() } else { value.get_item(&key).ok()? };
        Some((key, entry))
    };
    Some(Value::from_pairs(value.try_iter().ok()?.map(entry).collect::<Option<Vec<_>>>()?))
}
