//! What a file's normalizer does to a text before it is cut.
//! Not `Precompiled` and `Nmt`: no model family that is run here needs them.

use super::bert::BertNormalizer;
use super::components::{flag, list, pattern, text};
use super::regex::Pattern;
use super::unicode::{self, Form, Ranges};
use super::unsupported;
use crate::error::Result;
use serde_json::Value;
use std::borrow::Cow;

#[derive(Clone, Debug)]
pub(super) enum Normalizer {
    Bert(BertNormalizer),
    Form(Form),
    Lowercase,
    ByteLevel,
    Strip {
        left: bool,
        right: bool,
    },
    /// Removes these: the marks.
    StripAccents(Ranges),
    Prepend(String),
    Replace {
        pattern: Pattern,
        content: String,
    },
}

/// A text on its way to the model.
#[derive(Clone, Debug)]
pub(super) struct Piece<'t> {
    pub(crate) text: Cow<'t, str>,
    /// It begins where the whole text does: nothing was taken from its front.
    pub(crate) first: bool,
}

pub(super) fn of(part: &Value) -> Result<Vec<Normalizer>> {
    list(part, "normalizer", "normalizers")?
        .into_iter()
        .map(|(kind, part)| {
            Ok(match kind {
                "BertNormalizer" => Normalizer::Bert(BertNormalizer::new(part)?),
                "ByteLevel" => Normalizer::ByteLevel,
                "Lowercase" => Normalizer::Lowercase,
                "NFC" => Normalizer::Form(Form::Nfc),
                "NFD" => Normalizer::Form(Form::Nfd),
                "NFKC" => Normalizer::Form(Form::Nfkc),
                "NFKD" => Normalizer::Form(Form::Nfkd),
                "Strip" => {
                    Normalizer::Strip { left: flag(part, "strip_left")?, right: flag(part, "strip_right")? }
                }
                "StripAccents" => Normalizer::StripAccents(unicode::class("M").unwrap_or_default()),
                "Prepend" => match text(part, "prepend")? {
                    "" => return Err(unsupported("normalizer `Prepend` of an empty string")),
                    prepended => Normalizer::Prepend(prepended.to_owned()),
                },
                "Replace" => Normalizer::Replace {
                    pattern: pattern(part, "normalizer")?,
                    content: text(part, "content")?.to_owned(),
                },
                _ => return Err(unsupported(format!("normalizer `{kind}`"))),
            })
        })
        .collect()
}

impl Normalizer {
    /// `prefix`: whether the text gets what a text begins with.
    pub(super) fn apply(&self, piece: &mut Piece, prefix: bool) {
        let text = piece.text.as_ref();
        let changed: String = match self {
            Self::Form(form) => match form.apply(text) {
                Cow::Borrowed(_) => return,
                Cow::Owned(changed) => changed,
            },
            Self::Bert(bert) => {
                let (changed, stays) = bert.apply(text);
                piece.first &= stays;
                changed
            }
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::ByteLevel => byte_level(text),
            Self::Strip { left, right } => {
                let kept = if *left { text.trim_start() } else { text };
                piece.first &= kept.len() == text.len();
                (if *right { kept.trim_end() } else { kept }).to_owned()
            }
            Self::StripAccents(marks) => {
                let is_mark = |c: char| unicode::is_in(marks, c);
                piece.first &= !text.starts_with(is_mark);
                text.chars().filter(|&c| !is_mark(c)).collect()
            }
            Self::Prepend(_) if text.is_empty() || !prefix => return,
            Self::Prepend(prepended) => format!("{prepended}{text}"),
            Self::Replace { pattern, content } => {
                let (replaced, taken) = replaced(text, pattern, content);
                // What replaces several characters stands where the last of them did.
                piece.first &= taken == 0 || taken == 1 && !content.is_empty();
                replaced
            }
        };
        piece.text = Cow::Owned(changed);
    }
}

/// A text with every match of the pattern replaced, and how many characters were at its start.
pub(super) fn replaced(text: &str, pattern: &Pattern, content: &str) -> (String, usize) {
    let (mut replaced, mut kept, mut taken) = (String::with_capacity(text.len()), 0, 0);
    pattern.each(text, |start, end| {
        if start == 0 {
            taken = text.get(..end).map_or(0, |text| text.chars().count());
        }
        replaced.push_str(text.get(kept..start).unwrap_or_default());
        replaced.push_str(content);
        kept = end;
    });
    replaced.push_str(text.get(kept..).unwrap_or_default());
    (replaced, taken)
}

/// Every byte as a character of GPT-2's alphabet.
pub(super) fn byte_level(text: &str) -> String {
    text.bytes().map(byte_level_char).collect()
}

/// GPT-2's alphabet: printable Latin-1 is itself, the other 68 bytes follow from U+0100 on, in
/// their order (`bytes_to_unicode` in GPT-2's encoder.py).
fn byte_level_char(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
        0x00..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
        0xad => 0x143,
    };
    char::from_u32(code).unwrap_or_default()
}
