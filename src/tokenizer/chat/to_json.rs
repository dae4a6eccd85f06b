//! The `tojson` filter as transformers has it: Python's `json.dumps` with its spaces, characters
//! beyond ASCII as they are. Not HTML-safe, as Jinja's own would be.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Containers within containers.
const DEPTH: usize = 64;

/// How containers are laid out.
struct Layout {
    /// What stands for one level of depth; `None` is all on one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
    ensure_ascii: bool,
}

/// `value` as JSON; `options` are `ensure_ascii`, `indent`, `separators` and `sort_keys`.
pub(super) fn to_json(value: &Value, options: &Kwargs) -> Result<String, Error> {
    let indent = match options.get::<Option<Value>>("indent")?.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(indent)?.min(DEPTH)),
        }),
    };
    let separators = options.get::<Option<Value>>("separators")?.filter(|pair| !pair.is_none());
    let separator = |at: usize, default: &str| match &separators {
        Some(pair) => Ok::<_, Error>(pair.get_item_by_index(at)?.to_string()),
        None => Ok(default.to_owned()),
    };
    let layout = Layout {
        item_separator: separator(0, if indent.is_some() { "," } else { ", " })?,
        key_separator: separator(1, ": ")?,
        indent,
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut text = String::new();
    layout.write(value, 0, &mut text)?;
    Ok(text)
}

/// A number as Python writes it: a float of less than 1e-4 or from 1e16 on in scientific notation.
fn number(value: &Value) -> String {
    let plain = value.to_string();
    if value.is_integer() {
        return plain;
    }
    let scientific = f64::try_from(value.clone()).map_or_else(|_| plain.clone(), |x| format!("{x:e}"));
    match scientific.split_once('e').and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?))) {
        Some((digits, power)) if !(-4..16).contains(&power) => {
            format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
        }
        _ => plain,
    }
}

impl Layout {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: a value too deep"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.string(&value.to_string(), out),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                let entry = |key: &Value, out: &mut String| {
                    self.string(&key.to_string(), out);
                    out.push_str(&self.key_separator);
                    self.write(&value.get_item(key)?, depth + 1, out)
                };
                self.container(['{', '}'], &keys, depth, out, entry)?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                let entry = |item: &Value, out: &mut String| self.write(item, depth + 1, out);
                self.container(['[', ']'], &items, depth, out, entry)?;
            }
            kind => {
                let detail = format!("tojson: {kind} is no JSON");
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
        }
        Ok(())
    }

    fn container(
        &self,
        [open, close]: [char; 2],
        entries: &[Value],
        depth: usize,
        out: &mut String,
        write: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.item_separator);
            }
            self.new_line(depth + 1, out);
            write(entry, out)?;
        }
        if !entries.is_empty() {
            self.new_line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ensure_ascii {
            out.push_str(&quoted);
            return;
        }
        for c in quoted.chars() {
            let mut units = [0; 2];
            match c {
                ' '..='~' => out.push(c),
                _ => {
                    c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")))
                }
            }
        }
    }
}
