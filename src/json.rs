//! JSON files as people have them: with a byte order mark, or with Python's words for what is no number.
//! Not a lenient parser: what else JSON does not allow is an error.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// What Python writes for numbers that JSON does not have.
const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The value in the bytes of `file`.
///
/// Errors with `Format`, which names the file, and the field where a number is none.
pub fn read<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T> {
    let text = unmarked(bytes);
    serde_json::from_slice(&text).map_err(|e| match no_number(&text, e.line(), e.column()) {
        Some((field, word)) => Error::format(format!("{file}: field `{field}` is {word}, expected a number")),
        None => Error::format(format!("{file}: {e}")),
    })
}

/// A text file's bytes without a byte order mark. UTF-16 that has one becomes UTF-8, as some editors
/// and shells of Windows write it.
pub(crate) fn unmarked(bytes: &[u8]) -> Cow<'_, [u8]> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).skip(1).map(|pair| unit([pair[0], pair[1]]));
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        Cow::Owned(text.collect::<String>().into_bytes())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        [0xff, 0xfe, ..] if bytes.len().is_multiple_of(2) => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] if bytes.len().is_multiple_of(2) => utf16(u16::from_be_bytes),
        _ => Cow::Borrowed(bytes),
    }
}

/// The field, and Python's word, that stand where parsing stopped.
fn no_number(text: &[u8], line: usize, column: usize) -> Option<(String, &'static str)> {
    let line = text.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    // The parser stops at the word, or in it.
    let (seen, rest) = line.split_at_checked(column.min(line.len()))?;
    let (seen, rest) = (std::str::from_utf8(seen).ok()?, std::str::from_utf8(rest).ok()?);
    let is_word = |c: char| c.is_ascii_alphabetic() || c == '-';
    let front = seen.trim_end_matches(is_word);
    let word = [&seen[front.len()..], &rest[..rest.len() - rest.trim_start_matches(is_word).len()]].concat();
    let word = NO_NUMBERS.into_iter().find(|name| *name == word)?;
    let field = front.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    Some((field.rsplit('"').next()?.to_owned(), word))
}
