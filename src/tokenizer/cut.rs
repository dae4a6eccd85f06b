//! How a file's pre-tokenizer cuts a text into the pieces that the model sees one at a time.
//! Not `UnicodeScripts` and `FixedLength`: the components read here are those that model families use.

use super::components::{character, flag, list, pattern, text};
use super::normalize::{Piece, byte_level};
use super::regex::Pattern;
use super::{broken, unsupported};
use crate::error::Result;
use serde_json::Value;
use std::borrow::Cow;

/// What becomes of what a pattern matches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Prepend {
    Always,
    First,
    Never,
}

#[derive(Clone, Debug)]
pub(super) enum Cut {
    Split {
        pattern: Pattern,
        behavior: Behavior,
        invert: bool,
    },
    /// At every character of this kind.
    Chars {
        is: fn(char) -> bool,
        behavior: Behavior,
    },
    /// SentencePiece's spaces.
    Metaspace {
        replacement: char,
        prepend: Prepend,
        split: bool,
    },
    /// A space in front; GPT-2's cut; every byte as a character.
    ByteLevel {
        space: bool,
        cut: Option<Pattern>,
    },
}

/// GPT-2's own pattern.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Punctuation: of Unicode, and all of ASCII's.
const PUNCTUATION: &str = r##"[\p{P}$+<=>\^`|\~]"##;

fn known(pattern: &str) -> Result<Pattern> {
    Pattern::new(pattern).ok_or_else(|| broken("a pattern of ours"))
}

pub(super) fn of(part: &Value) -> Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    for (kind, part) in list(part, "pre_tokenizer", "pretokenizers")? {
        let punctuation = |behavior| {
            Ok::<_, crate::error::Error>(Cut::Split { pattern: known(PUNCTUATION)?, behavior, invert: false })
        };
        let optional = |key: &str| part.get(key).and_then(Value::as_bool);
        let cut = match kind {
            "BertPreTokenizer" => {
                cuts.push(Cut::Chars { is: char::is_whitespace, behavior: Behavior::Removed });
                punctuation(Behavior::Isolated)?
            }
            "ByteLevel" => Cut::ByteLevel {
                space: flag(part, "add_prefix_space")?,
                cut: if optional("use_regex").unwrap_or(true) { Some(known(GPT2)?) } else { None },
            },
            "CharDelimiterSplit" => Cut::Split {
                pattern: Pattern::literal(character(part, "delimiter")?.encode_utf8(&mut [0; 4])),
                behavior: Behavior::Removed,
                invert: false,
            },
            "Digits" => Cut::Chars {
                is: char::is_numeric,
                behavior: match flag(part, "individual_digits")? {
                    true => Behavior::Isolated,
                    false => Behavior::Contiguous,
                },
            },
            "Metaspace" => Cut::Metaspace {
                replacement: character(part, "replacement")?,
                prepend: prepend(part)?,
                split: optional("split").unwrap_or(true),
            },
            "Punctuation" if part.get("behavior").is_none() => punctuation(Behavior::Isolated)?,
            "Punctuation" => punctuation(behavior(part)?)?,
            "Split" => Cut::Split {
                pattern: pattern(part, "pre_tokenizer")?,
                behavior: behavior(part)?,
                invert: flag(part, "invert")?,
            },
            "Whitespace" => {
                Cut::Split { pattern: known(r"\w+|[^\w\s]+")?, behavior: Behavior::Removed, invert: true }
            }
            "WhitespaceSplit" => Cut::Chars { is: char::is_whitespace, behavior: Behavior::Removed },
            _ => return Err(unsupported(format!("pre_tokenizer `{kind}`"))),
        };
        cuts.push(cut);
    }
    Ok(cuts)
}

/// Words, each with SentencePiece's spaces before it.
pub(super) fn words() -> Result<Cut> {
    Ok(Cut::Split { pattern: known("▁*+[^▁]+|▁+")?, behavior: Behavior::Isolated, invert: false })
}

/// `add_prefix_space` is an older spelling of `prepend_scheme`.
fn prepend(part: &Value) -> Result<Prepend> {
    let scheme = part.get("prepend_scheme").and_then(Value::as_str).unwrap_or("always");
    let prepend = match scheme {
        "always" => Prepend::Always,
        "first" => Prepend::First,
        "never" => Prepend::Never,
        _ => return Err(broken(format!("`Metaspace`: prepend_scheme `{scheme}`"))),
    };
    if part.get("add_prefix_space").and_then(Value::as_bool) == Some(false) && prepend != Prepend::Never {
        return Err(broken("`Metaspace`: add_prefix_space contradicts prepend_scheme"));
    }
    Ok(prepend)
}

fn behavior(part: &Value) -> Result<Behavior> {
    Ok(match text(part, "behavior")? {
        "Removed" => Behavior::Removed,
        "Isolated" => Behavior::Isolated,
        "MergedWithPrevious" => Behavior::MergedWithPrevious,
        "MergedWithNext" => Behavior::MergedWithNext,
        "Contiguous" => Behavior::Contiguous,
        other => return Err(broken(format!("pre_tokenizer: behavior `{other}`"))),
    })
}

/// A text and where its pieces lie in it.
pub(super) struct Pieces<'t> {
    pub(crate) piece: Piece<'t>,
    pub(crate) ranges: Vec<(usize, usize)>,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(piece: Piece<'t>) -> Self {
        let end = piece.text.len();
        Self { piece, ranges: if end == 0 { Vec::new() } else { vec![(0, end)] } }
    }

    /// `prefix`: whether the text gets what a text begins with.
    pub(super) fn cut(&mut self, cut: &Cut, prefix: bool) {
        match cut {
            Cut::Split { pattern, behavior, invert } => {
                self.split(*behavior, *invert, |text, found| pattern.each(text, found));
            }
            Cut::Chars { is, behavior } => self.split(*behavior, false, |text, found| {
                text.match_indices(*is).for_each(|(at, c)| found(at, at + c.len()));
            }),
            Cut::Metaspace { replacement, prepend, split } => {
                self.rewrite(|text, first, out| {
                    let start = out.len();
                    out.extend(text.chars().map(|c| if c == ' ' { *replacement } else { c }));
                    let begins = match prepend {
                        Prepend::Always => prefix || !first,
                        Prepend::First => prefix && first,
                        Prepend::Never => false,
                    };
                    if begins && !out.get(start..).is_some_and(|text| text.starts_with(*replacement)) {
                        out.insert(start, *replacement);
                    }
                });
                if *split {
                    self.split(Behavior::MergedWithNext, false, |text, found| {
                        text.match_indices(*replacement).for_each(|(at, c)| found(at, at + c.len()));
                    });
                }
            }
            Cut::ByteLevel { space, cut } => {
                if *space {
                    self.rewrite(|text, first, out| {
                        if !text.starts_with(' ') && (prefix || !first) {
                            out.push(' ');
                        }
                        out.push_str(text);
                    });
                }
                if let Some(pattern) = cut {
                    self.split(Behavior::Isolated, false, |text, found| pattern.each(text, found));
                }
                self.rewrite(|text, _, out| out.push_str(&byte_level(text)));
            }
        }
    }

    /// Writes every piece anew.
    fn rewrite(&mut self, write: impl Fn(&str, bool, &mut String)) {
        let mut all = String::with_capacity(self.piece.text.len() * 5 / 4);
        self.piece.first &= self.ranges.first().is_some_and(|&(start, _)| start == 0);
        for range in &mut self.ranges {
            let start = all.len();
            let first = self.piece.first && start == 0;
            write(self.piece.text.get(range.0..range.1).unwrap_or_default(), first, &mut all);
            *range = (start, all.len());
        }
        self.piece.text = Cow::Owned(all);
    }

    fn split(
        &mut self,
        behavior: Behavior,
        invert: bool,
        search: impl Fn(&str, &mut dyn FnMut(usize, usize)),
    ) {
        let mut ranges: Vec<(usize, usize)> = Vec::with_capacity(self.ranges.len());
        let mut spans: Vec<(usize, usize, bool)> = Vec::new();
        for &(start, end) in &self.ranges {
            let text = self.piece.text.get(start..end).unwrap_or_default();
            spans.clear();
            let mut last = 0;
            search(text, &mut |from, to| {
                if last < from {
                    spans.push((last, from, invert));
                }
                spans.push((from, to, !invert));
                last = to;
            });
            if last < text.len() {
                spans.push((last, text.len(), invert));
            }
            let first = ranges.len();
            let mut was_match = false;
            if matches!(behavior, Behavior::MergedWithNext) {
                spans.reverse();
            }
            for &(from, to, is_match) in &spans {
                let merges = match behavior {
                    Behavior::Removed if is_match => continue,
                    Behavior::Removed | Behavior::Isolated => false,
                    Behavior::Contiguous => is_match == was_match,
                    Behavior::MergedWithPrevious | Behavior::MergedWithNext => is_match && !was_match,
                };
                was_match = is_match;
                match ranges[first..].last_mut().filter(|_| merges) {
                    Some(range) => *range = (range.0.min(start + from), range.1.max(start + to)),
                    None => ranges.push((start + from, start + to)),
                }
            }
            if matches!(behavior, Behavior::MergedWithNext) {
                ranges[first..].reverse();
            }
        }
        self.ranges = ranges;
    }
}
