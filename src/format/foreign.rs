//! What a file is that is not what it was taken for: a pointer, a page, an archive, half a download.
//! Not a reader of any of them: the first bytes decide.

use crate::error::{Error, Result};

/// Fewer bytes than these say nothing.
const SHORTEST: usize = 4;
/// How much of a text is told.
const SHOWN_BYTES: usize = 40;
/// A server's answer in place of a file is no longer than this.
const LONGEST_ANSWER: usize = 4096;

/// Refuses a file that cannot be weights by its first bytes; some sixty are enough. Where these
/// could be weights all the same is for the caller to know.
///
/// Errors with `Format`, and says what it is instead.
pub(super) fn refuse(first_bytes: &[u8]) -> Result<()> {
    foreign(first_bytes).map_or(Ok(()), |what| Err(Error::format(what)))
}

/// The same for a file of text, whose `name` goes in front.
///
/// Errors as that does.
pub fn refuse_foreign(name: &str, first_bytes: &[u8]) -> Result<()> {
    refuse(first_bytes).map_err(|e| e.context(name))
}

/// The error of a JSON file that could not be read: what the file is instead, if it is known.
///
/// `error` is the reader's own; `name` the file's.
pub fn explained(name: &str, file: &[u8], error: Error) -> Error {
    let what = foreign(file).map(str::to_owned).or_else(|| match serde_json::from_slice(file) {
        Err(e) if e.is_eof() => Some(cut_short(file.len() as u64, None)),
        Ok(serde::de::IgnoredAny) if file.len() <= LONGEST_ANSWER => server_error(file),
        _ => None,
    });
    what.map_or(error, |what| Error::format(format!("{name}: {what}")))
}

/// Says that a file ends too early; `expected` bytes, where that is known.
pub(super) fn cut_short(bytes: u64, expected: Option<u64>) -> String {
    let of = expected.map_or(String::new(), |expected| format!(" of {expected}"));
    format!("the file ends after {bytes}{of} bytes: a download that was cut short")
}

/// What the bytes say, if all of them are text.
pub(super) fn text(first_bytes: &[u8]) -> Option<String> {
    let shown = first_bytes.get(..SHOWN_BYTES).unwrap_or(first_bytes);
    let is_text = shown.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    is_text.then(|| String::from_utf8_lossy(shown).escape_debug().to_string())
}

fn foreign(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file");
    }
    // A page may begin with a mark or with white space.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let lower: Vec<u8> = text.iter().take(24).map(u8::to_ascii_lowercase).collect();
    // What is at hand may be the shorter one.
    let begins = |start: &&[u8]| {
        let n = start.len().min(lower.len());
        n >= SHORTEST && lower.get(..n) == start.get(..n)
    };
    if begins(&&b"version https://git-lfs"[..]) {
        return Some(
            "a Git LFS pointer, not the file it stands for: get that with `git lfs pull`, or download it",
        );
    }
    if [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<!--", b"<?xml"].iter().any(begins) {
        return Some("a web page, not the file: its address leads to a page about it, or to an error");
    }
    match bytes {
        [0x1f, 0x8b, ..] => Some("a gzip archive: unpack it first"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive or a pickled PyTorch file, which is not read"),
        [0x80, 2..=5, ..] => Some("a pickled PyTorch file, which is not read, for it can run code"),
        _ => None,
    }
}

/// The words of a server in place of a file: a small object with an error in it.
fn server_error(file: &[u8]) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(file).ok()?;
    let words = ["error", "errors", "message", "detail"].iter().find_map(|key| object.get(*key))?;
    let words: String = words.to_string().chars().take(120).collect();
    Some(format!("the answer of a server, not the file: {words}"))
}
