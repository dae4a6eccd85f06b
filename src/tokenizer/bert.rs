//! What BERT's normalizer does to a text: control characters, CJK, accents and capitals.
//! Not its cut into words: `cut.rs` has it.
//!
//! Followed from `tokenizers` 0.23, whose tables of marks and format characters are of an older Unicode:
//! characters that came later are taken for what they are.

use super::components::flag;
use super::unicode::{self, Form, Ranges};
use crate::error::Result;
use serde_json::Value;

#[derive(Clone, Debug)]
pub(super) struct BertNormalizer {
    /// Format characters, which go together with control characters.
    formats: Option<Ranges>,
    spaces_chinese: bool,
    /// Marks without width, which go.
    accents: Option<Ranges>,
    lowercase: bool,
}

/// Private characters, which go with those of control.
const PRIVATE: [(char, char); 3] =
    [('\u{e000}', '\u{f8ff}'), ('\u{f0000}', '\u{ffffd}'), ('\u{100000}', '\u{10fffd}')];

/// CJK ideographs. The fifth begins at 2B920 in `tokenizers`, not at 2B820.
const CHINESE: [(char, char); 8] = [
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{20000}', '\u{2a6df}'),
    ('\u{2a700}', '\u{2b73f}'),
    ('\u{2b740}', '\u{2b81f}'),
    ('\u{2b920}', '\u{2ceaf}'),
    ('\u{2f800}', '\u{2fa1f}'),
];

impl BertNormalizer {
    pub(super) fn new(part: &Value) -> Result<Self> {
        let lowercase = flag(part, "lowercase")?;
        let strips = match part.get("strip_accents") {
            None | Some(Value::Null) => lowercase,
            Some(_) => flag(part, "strip_accents")?,
        };
        let class = |wanted: bool, name| wanted.then(|| unicode::class(name).unwrap_or_default());
        Ok(Self {
            formats: class(flag(part, "clean_text")?, "Cf"),
            spaces_chinese: flag(part, "handle_chinese_chars")?,
            accents: class(strips, "Mn"),
            lowercase,
        })
    }

    /// The text, and whether its first character stayed.
    pub(super) fn apply(&self, text: &str) -> (String, bool) {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            let c = match &self.formats {
                Some(formats) if is_dropped(c, formats) => continue,
                Some(_) if c.is_whitespace() => ' ',
                _ => c,
            };
            if self.spaces_chinese && unicode::is_in(&CHINESE, c) {
                out.extend([' ', c, ' ']);
            } else {
                out.push(c);
            }
        }
        if let Some(accents) = self.accents.as_ref().filter(|_| !out.is_ascii()) {
            out = Form::Nfd.apply(&out).chars().filter(|&c| !unicode::is_in(accents, c)).collect();
        }
        if self.lowercase {
            out = out.chars().flat_map(char::to_lowercase).collect();
        }
        let stays = |c: char| self.formats.as_ref().is_none_or(|formats| !is_dropped(c, formats));
        (out, text.chars().next().is_none_or(stays))
    }
}

fn is_dropped(c: char, formats: &Ranges) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ => c.is_control() || unicode::is_in(&PRIVATE, c) || unicode::is_in(formats, c),
    }
}
