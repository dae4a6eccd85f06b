//! A file's decoder as steps that take one token at a time.
//! Not every decoder can be: those that must see the whole text are refused by name.
//!
//! Twin of `tokenizers::decoders`, which map a list of tokens to a list of strings. Each step
//! here gives the same strings, in order, from a token, what it remembers, and a flush.

use super::components::{character, flag, list, pattern, text};
use super::normalize::replaced;
use super::regex::Pattern;
use super::{broken, unsupported};
use crate::error::Result;
use serde_json::Value;

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Replace {
        pattern: Pattern,
        content: String,
    },
    /// `Strip` before `Fuse`: up to `limit` times `content` from the start of each token.
    Strip {
        content: char,
        limit: usize,
    },
    /// SentencePiece's spaces; `drops_first`: none in the first token.
    Metaspace {
        replacement: char,
        drops_first: bool,
    },
    /// Words begin but where a token has the prefix.
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    /// Tokens like `<0x0A>` are bytes; a run of them is text if it is UTF-8, and else one
    /// U+FFFD per byte.
    ByteFallback,
    /// Every character is a byte (GPT-2's alphabet); invalid UTF-8 becomes U+FFFD.
    ByteLevel,
    /// `Strip` after `Fuse`: up to `limit` times `content` from the start of the text.
    StripStart {
        content: char,
        limit: usize,
    },
    /// No decoder in the file: tokens are words.
    Spaces,
}

/// What a step remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct StepState {
    /// Bytes whose meaning is open: a run of fallback bytes, or an unfinished character.
    bytes: Vec<u8>,
    /// How much of the start is behind us: tokens for `Metaspace`, `WordPiece` and `Spaces` (0 or 1),
    /// stripped characters for `StripStart` (its limit once another character came).
    passed: usize,
}

/// Passes tokens through the steps in order; with `flush`, also what the steps hold back.
pub(super) fn run(steps: &[Step], states: &mut [StepState], mut tokens: Vec<String>, flush: bool) -> String {
    for (step, state) in steps.iter().zip(states) {
        let mut passed_on = Vec::with_capacity(tokens.len());
        for token in tokens {
            step.push(state, token, &mut passed_on);
        }
        if flush {
            step.flush(state, &mut passed_on);
        }
        tokens = passed_on;
    }
    tokens.concat()
}

/// The bytes that a token stands for after others; a part of a character, too.
pub(super) fn bytes(steps: &[Step], token: &str) -> Vec<u8> {
    let mut text = token.to_owned();
    for step in steps {
        match step {
            Step::ByteFallback => {
                if let Some(byte) = fallback_byte(&text) {
                    return vec![byte];
                }
            }
            // What follows it sees the whole text.
            Step::ByteLevel => {
                let mut bytes = Vec::new();
                append_byte_level(&text, &mut bytes);
                return bytes;
            }
            _ => {
                let mut passed_on = Vec::new();
                let mut within = StepState { passed: usize::MAX, ..StepState::default() };
                step.push(&mut within, text, &mut passed_on);
                text = passed_on.concat();
            }
        }
    }
    text.into_bytes()
}

impl Step {
    fn push(&self, state: &mut StepState, token: String, out: &mut Vec<String>) {
        match self {
            Self::Replace { pattern, content } => out.push(replaced(&token, pattern, content).0),
            Self::Strip { content, limit } => {
                let stripped = token.chars().take(*limit).take_while(|c| c == content).count();
                out.push(token.chars().skip(stripped).collect());
            }
            Self::Metaspace { replacement, drops_first } => {
                let space = if *drops_first && state.passed == 0 { "" } else { " " };
                state.passed = 1;
                out.push(token.replace(*replacement, space));
            }
            Self::WordPiece { prefix, cleanup } => {
                let token = match (state.passed, token.strip_prefix(prefix)) {
                    (0, _) => token,
                    (_, Some(rest)) => rest.to_owned(),
                    (_, None) => format!(" {token}"),
                };
                state.passed = 1;
                out.push(if *cleanup { cleaned(token) } else { token });
            }
            Self::ByteFallback => match fallback_byte(&token) {
                Some(byte) => state.bytes.push(byte),
                None => {
                    self.flush(state, out);
                    out.push(token);
                }
            },
            Self::ByteLevel => {
                append_byte_level(&token, &mut state.bytes);
                out.push(take_whole_characters(&mut state.bytes));
            }
            Self::StripStart { content, limit } => {
                let budget = limit.saturating_sub(state.passed);
                let stripped = token.chars().take(budget).take_while(|c| c == content).count();
                let rest: String = token.chars().skip(stripped).collect();
                state.passed = if rest.is_empty() { state.passed.saturating_add(stripped) } else { *limit };
                out.push(rest);
            }
            Self::Spaces => {
                if state.passed > 0 {
                    out.push(" ".to_owned());
                }
                state.passed = 1;
                out.push(token);
            }
        }
    }

    fn flush(&self, state: &mut StepState, out: &mut Vec<String>) {
        if state.bytes.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut state.bytes);
        match self {
            Self::ByteFallback => match String::from_utf8(bytes) {
                Ok(text) => out.push(text),
                Err(e) => out.extend(e.as_bytes().iter().map(|_| "\u{fffd}".to_owned())),
            },
            _ => out.push(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

/// Without the spaces that English has not, as BERT's tokenizers write it.
fn cleaned(token: String) -> String {
    const WITH: [[&str; 2]; 11] = [
        [" .", "."],
        [" ?", "?"],
        [" !", "!"],
        [" ,", ","],
        [" ' ", "'"],
        [" n't", "n't"],
        [" 'm", "'m"],
        [" do not", " don't"],
        [" 's", "'s"],
        [" 've", "'ve"],
        [" 're", "'re"],
    ];
    WITH.iter().fold(token, |token, [with, without]| token.replace(with, without))
}

/// The byte of a token like `<0x0A>`.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// A token's bytes in GPT-2's alphabet; a token with any other character stands for itself.
fn append_byte_level(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in token.chars() {
        match byte_level_byte(c) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend(token.as_bytes());
                return;
            }
        }
    }
}

/// GPT-2's alphabet: printable Latin-1 is itself, the other 68 bytes follow from U+0100 on,
/// in their order (`bytes_to_unicode` in GPT-2's encoder.py).
fn byte_level_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,        // 00..=20
        0x121..=0x142 => code - 0x121 + 0x7f, // 7f..=a0
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Takes what is decided from the front: whole characters, and U+FFFD for what can no longer
/// become one, as `String::from_utf8_lossy` has it. At most three bytes stay.
fn take_whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut open = Vec::new();
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        // Only what nothing follows can still grow into a character.
        let may_grow =
            chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
        if may_grow {
            open = invalid.to_vec();
        } else if !invalid.is_empty() {
            text.push('\u{fffd}');
        }
    }
    *bytes = open;
    text
}

/// The steps of a file's decoder.
///
/// Errors with `Unsupported` if one of them needs the whole text.
pub(super) fn of(decoder: &Value) -> Result<Vec<Step>> {
    if decoder.is_null() {
        return Ok(vec![Step::Spaces]);
    }
    let mut steps = Vec::new();
    // All tokens before this decoder have become one, so it sees the whole text.
    let mut fused = false;
    for (kind, part) in list(decoder, "decoder", "decoders")? {
        match kind {
            "Fuse" => fused = true,
            "Strip" if count(part, "stop")? == 0 => {
                let (content, limit) = (character(part, "content")?, count(part, "start")?);
                steps.push(match fused {
                    true => Step::StripStart { content, limit },
                    false => Step::Strip { content, limit },
                });
            }
            "Replace" if !fused => {
                let (pattern, content) = (pattern(part, "decoder")?, text(part, "content")?.to_owned());
                steps.push(Step::Replace { pattern, content });
            }
            "ByteFallback" if !fused => steps.push(Step::ByteFallback),
            "ByteLevel" if !fused => {
                steps.push(Step::ByteLevel);
                fused = true;
            }
            "Metaspace" if !fused => {
                let never = part.get("prepend_scheme").and_then(Value::as_str) == Some("never");
                let replacement = character(part, "replacement")?;
                steps.push(Step::Metaspace { replacement, drops_first: !never });
            }
            "WordPiece" if !fused => {
                let prefix = text(part, "prefix")?.to_owned();
                steps.push(Step::WordPiece { prefix, cleanup: flag(part, "cleanup")? });
            }
            _ => {
                let after = if fused { " after the tokens are fused" } else { "" };
                return Err(unsupported(format!("decoder `{kind}`{after}")));
            }
        }
    }
    Ok(steps)
}

fn count(part: &Value, key: &str) -> Result<usize> {
    let count = part.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    count.ok_or_else(|| broken(format!("decoder: `{key}` is no count")))
}
