//! What templates ask of Python and Jinja, and the engine of templates has not: methods of strings,
//! filters, `joiner` and `cycler`. Not `%` on strings, nor `pprint`: those are refused by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, Tuple, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::{globals, pycompat};

/// Adds all of it.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(|state, value, method, args| {
        let known = pycompat::unknown_method_callback(state, value, method, args);
        match (known, value.as_str()) {
            (Err(e), Some(text)) if e.kind() == ErrorKind::UnknownMethod => {
                text_method(state, text, method, args)
            }
            (known, _) => known,
        }
    });
    environment.add_function("joiner", globals::joiner);
    environment.add_function("cycler", |items: Rest<Value>| match items.is_empty() {
        true => Err(invalid("cycler: no items")),
        false => Ok(Value::from_object(Cycler { items: items.0, at: AtomicUsize::new(0) })),
    });
    environment.add_filter("wordcount", |text: &str| {
        text.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty()).count()
    });
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("attr", |value: &Value, name: &str| match value.kind() {
        // A dictionary's entries are no attributes.
        ValueKind::Map if !is_namespace(value) => Ok(Value::UNDEFINED),
        _ => value.get_attr(name),
    });
    // Python's breaks lines and sorts keys, in a way of its own.
    environment.remove_filter("pprint");
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().contains("Namespace"))
}

/// Python's methods of strings that are missing elsewhere.
fn text_method(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "rsplit" => {
            let (separator, most, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(named.get::<Option<Value>>("sep")?).filter(|each| !each.is_none());
            let most = most.or(named.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
            named.assert_all_used()?;
            let separator = match &separator {
                Some(given) => {
                    Some(given.as_str().ok_or_else(|| invalid("rsplit: a separator that is no string"))?)
                }
                None => None,
            };
            rsplit(text, separator, most.unwrap_or(usize::MAX))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(invalid("partition: an empty separator"));
            }
            let from_left = method == "partition";
            let cut = if from_left { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match (cut, from_left) {
                (Some((before, after)), _) => [before, separator, after],
                (None, true) => [text, "", ""],
                (None, false) => ["", "", text],
            };
            Ok(Value::from(Tuple::from(parts.map(Value::from).to_vec())))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(part) } else { text.rfind(part) };
            let at = at.ok_or_else(|| invalid(format!("{method}: no such part of the string")))?;
            Ok(Value::from(text[..at].chars().count()))
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let missing = width.saturating_sub(text.chars().count());
            state.consume_fuel(missing as u64 / 64)?;
            let fill = if method == "zfill" { "0" } else { fill.unwrap_or(" ") };
            if fill.chars().count() != 1 {
                return Err(invalid(format!("{method}: a fill that is not one character")));
            }
            // As CPython rounds.
            let left = match method {
                "ljust" => 0,
                "center" => missing / 2 + (missing & width & 1),
                _ => missing,
            };
            let sign = if method == "zfill" && text.starts_with(['+', '-']) { 1 } else { 0 };
            let (sign, text) = text.split_at(sign);
            Ok(Value::from(format!("{sign}{}{text}{}", fill.repeat(left), fill.repeat(missing - left))))
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swapped = text.chars().map(|c| match c.is_uppercase() {
                true => c.to_lowercase().to_string(),
                false => c.to_uppercase().to_string(),
            });
            Ok(Value::from(swapped.collect::<String>()))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Splits at most `most` times, from the right; without a separator at runs of white space.
fn rsplit(text: &str, separator: Option<&str>, most: usize) -> Result<Value, Error> {
    let mut parts = Vec::new();
    let mut rest = text;
    match separator {
        Some("") => return Err(invalid("rsplit: an empty separator")),
        Some(separator) => {
            while let Some((before, after)) = rest.rsplit_once(separator).filter(|_| parts.len() < most) {
                parts.push(after);
                rest = before;
            }
            parts.push(rest);
        }
        None => {
            rest = rest.trim_end();
            while !rest.trim_start().is_empty() {
                let cut = if parts.len() < most { rest.rsplit_once(char::is_whitespace) } else { None };
                let (before, part) = cut.unwrap_or(("", rest));
                parts.push(part);
                rest = before.trim_end();
            }
        }
    }
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Percent-encodes a string, or a mapping or pairs as the query of a URL.
fn urlencode(value: &Value) -> Result<String, Error> {
    if !matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Ok(quote(&value.to_string(), b"/", "%20"));
    }
    let is_map = value.kind() == ValueKind::Map;
    let pair = |item: Value| {
        let (key, value) = if is_map {
            let of = value.get_item(&item)?;
            (item, of)
        } else {
            (item.get_item_by_index(0)?, item.get_item_by_index(1)?)
        };
        Ok([key, value].map(|each| quote(&each.to_string(), b"", "+")).join("="))
    };
    Ok(value.try_iter()?.map(pair).collect::<Result<Vec<_>, Error>>()?.join("&"))
}

/// `safe` stays as it is, as letters, digits and `_.-~` do.
fn quote(text: &str, safe: &[u8], space: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => space.to_owned(),
        _ if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || safe.contains(&byte) => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Jinja's `cycler`: its items again and again.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Cycler {
    fn current(&self) -> Value {
        self.items[self.at.load(Ordering::Relaxed)].clone()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.current())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let () = from_args(args)?;
        let current = self.current();
        match method {
            "next" => {
                let next = (self.at.load(Ordering::Relaxed) + 1) % self.items.len();
                self.at.store(next, Ordering::Relaxed);
                Ok(current)
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}
