//! Python's regular expressions over module names, as far as configs use them.
//! Not a regex engine: it lets through what Python and `regex-lite` read alike. That engine is
//! small and takes time linear in the name, so no pattern can hang; it knows no look-around.

use crate::error::{Error, Result};
use regex_lite::Regex;

/// Longest pattern accepted, in bytes.
const MAX_BYTES: usize = 4096;

/// A compiled pattern; two are equal if their texts are.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// `re.fullmatch(text, name)`
    pub(super) fn full(text: &str) -> Result<Self> {
        // Python lets flags for the whole pattern stand only in front of it.
        let (flags, rest) = match text.strip_prefix("(?i)") {
            Some(rest) => ("(?i)", rest),
            None => ("", text),
        };
        Self::compile(text, rest, |p| format!(r"{flags}\A(?:{p})\z"))
    }

    /// `re.match(whole, name)`, where `whole` puts the config's `text` in its place.
    pub(super) fn start(text: &str, whole: impl FnOnce(&str) -> String) -> Result<Self> {
        Self::compile(text, text, |p| format!(r"\A(?:{})", whole(p)))
    }

    fn compile(text: &str, rest: &str, whole: impl FnOnce(&str) -> String) -> Result<Self> {
        let refused = |why: &str| Error::unsupported(format!("adapter_config.json: pattern `{text}`: {why}"));
        if text.len() > MAX_BYTES {
            return Err(Error::unsupported(format!(
                "adapter_config.json: a pattern of {} bytes, expected at most {MAX_BYTES}",
                text.len()
            )));
        }
        let rest = from_python(rest).map_err(refused)?;
        let regex = Regex::new(&whole(&rest)).map_err(|_| refused("it does not compile"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The text in the config.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits a module's name.
    pub(super) fn is_match(&self, name: &str) -> bool {
        self.matched(name).is_some()
    }

    /// The part of a module's name that it fits, from the start.
    pub(super) fn matched<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.regex.find(name).map(|found| found.as_str())
    }
}

/// A key of `rank_pattern` or `alpha_pattern`.
///
/// `get_pattern_key`: `re.match(rf"(.*\.)?({key})$", name)`, or the name itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ModulePattern {
    /// Letters, digits, `_`, `-` and `.`, which fits any character.
    Plain(String),
    /// Anything else.
    Regex(Pattern),
}

impl ModulePattern {
    pub(super) fn new(key: &str) -> Result<Self> {
        if key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            return Ok(Self::Plain(key.to_owned()));
        }
        Pattern::start(key, |p| format!(r"(.*\.)?({p})$")).map(Self::Regex)
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Plain(key) => key,
            Self::Regex(pattern) => pattern.text(),
        }
    }

    pub(super) fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Plain(key) => fits_end(key, name),
            Self::Regex(pattern) => pattern.is_match(name) || pattern.text() == name,
        }
    }
}

/// Whether `name` ends in `key`, whose dots fit anything, at its start or after a dot.
fn fits_end(key: &str, name: &str) -> bool {
    let mut name = name.chars().rev();
    let fits = key.chars().rev().all(|k| name.next().is_some_and(|n| k == n || k == '.' && n != '\n'));
    fits && matches!(name.next(), None | Some('.'))
}

/// The value of the first pattern that fits.
pub(super) fn first<V: Copy>(patterns: &[(ModulePattern, V)], module: &str) -> Option<V> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}

/// Rewrites what the two languages spell differently; refuses what only one of them knows, or
/// what means different things.
fn from_python(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_set = false;
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '\\' => escape(&mut chars, &mut out, in_set)?,
            ']' if in_set => in_set = false,
            '[' if in_set => return Err("`[` in a set needs a backslash"),
            '&' | '~' | '|' | '-' if in_set && chars.peek() == Some(&c) => {
                return Err("a set holds a doubled `&`, `~`, `|` or `-`");
            }
            _ if in_set => {}
            '[' => {
                in_set = true;
                out.extend(chars.next_if_eq(&'^'));
                // Where a set would be empty, `]` is one of it.
                out.extend(chars.next_if_eq(&']'));
            }
            '(' if chars.peek() == Some(&'?') => group(&chars.clone().skip(1).take(2).collect::<String>())?,
            '{' => count(&chars.clone().collect::<String>())?,
            _ => {}
        }
    }
    if in_set { Err("a set is not closed") } else { Ok(out) }
}

/// What follows `{` must be `2}`, `2,}` or `2,3}`; Python takes anything else for a plain `{`.
fn count(after: &str) -> Result<(), &'static str> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let inside = after.split_once('}').map(|(inside, _)| inside);
    match inside.map(|inside| inside.split_once(',').unwrap_or((inside, ""))) {
        Some((least, most)) if !least.is_empty() && digits(least) && digits(most) => Ok(()),
        _ => Err("`{` starts no count; it needs a backslash"),
    }
}

fn group(after: &str) -> Result<(), &'static str> {
    if after.starts_with(':') || after.starts_with("P<") {
        Ok(())
    } else {
        Err("a `(?…)` that is not read")
    }
}

fn escape(
    chars: &mut impl Iterator<Item = char>,
    out: &mut String,
    in_set: bool,
) -> Result<(), &'static str> {
    let Some(c) = chars.next() else { return Err("it ends in a backslash") };
    match c {
        // The very end: Python's capital is the other's small letter.
        'Z' if !in_set => out.push('z'),
        'A' | 'b' | 'B' if !in_set => out.push(c),
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'n' | 'r' | 't' | 'f' | 'v' => out.push(c),
        '<' | '>' => return Err("`\\<` and `\\>` need no backslash"),
        c if !c.is_ascii_alphanumeric() => out.push(c),
        _ => return Err("a backslash before a letter or digit that is not read"),
    }
    Ok(())
}
