//! Python's regular expressions over module names, as configs use them.
//! Not the engine that runs them, which is `regex`.

use super::regex::{ENDS_IN_BACKSLASH, Regex};
use crate::error::{Error, Result};

/// Longest pattern accepted, in bytes.
const MAX_BYTES: usize = 4096;

/// A compiled pattern; two are equal if their texts are.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
    /// Whether the whole name is to fit.
    whole: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// `re.fullmatch(text, name)`
    pub(crate) fn full(text: &str) -> Result<Self> {
        // Python lets flags for the whole pattern stand only in front of it.
        let plain = text.strip_prefix("(?i)");
        Self::compile(text, true, || Regex::new(plain.unwrap_or(text), plain.is_some()))
    }

    /// `re.match(whole, name)`, where `whole` puts the config's `text` in its place.
    pub(crate) fn start(text: &str, whole: impl FnOnce(&str) -> String) -> Result<Self> {
        Self::compile(text, false, || match Regex::new(text, false).err() {
            // It would act on what is put behind it.
            Some(why @ ENDS_IN_BACKSLASH) => Err(why),
            // What is wrong with the config's own part is told first.
            alone => Regex::new(&whole(text), false).map_err(|why| alone.unwrap_or(why)),
        })
    }

    fn compile(text: &str, whole: bool, new: impl FnOnce() -> Result<Regex, &'static str>) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(Error::unsupported(format!(
                "adapter_config.json: a pattern of {} bytes, expected at most {MAX_BYTES}",
                text.len()
            )));
        }
        let refused = |why| Error::unsupported(format!("adapter_config.json: pattern `{text}`: {why}"));
        Ok(Self { text: text.to_owned(), regex: new().map_err(refused)?, whole })
    }

    /// The text in the config.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits a module's name.
    pub(crate) fn is_match(&self, name: &str) -> bool {
        self.matched(name).is_some()
    }

    /// The part of a module's name that it fits, from the start.
    pub(crate) fn matched<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.regex.matched(name, self.whole)
    }
}

/// A key of `rank_pattern` or `alpha_pattern`.
///
/// `get_pattern_key`: `re.match(rf"(.*\.)?({key})$", name)`, or the name itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ModulePattern {
    /// Letters, digits, `_`, `-` and `.`, which fits any character.
    Plain(String),
    /// Anything else.
    Regex(Pattern),
}

impl ModulePattern {
    pub(crate) fn new(key: &str) -> Result<Self> {
        if key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            return Ok(Self::Plain(key.to_owned()));
        }
        Pattern::start(key, |p| format!(r"(.*\.)?({p})$")).map(Self::Regex)
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Plain(key) => key,
            Self::Regex(pattern) => pattern.text(),
        }
    }

    pub(crate) fn is_match(&self, name: &str) -> bool {
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
pub(crate) fn first<V: Copy>(patterns: &[(ModulePattern, V)], module: &str) -> Option<V> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}
