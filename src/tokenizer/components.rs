//! The file's normalizer, pre-tokenizer and post-processor, as the crate's.
//! Not its decoder (`steps.rs`), and not every component: the others are refused by name.
//!
//! The release candidate runs no `Metaspace` and no `ByteLevel` pre-tokenizer. As its `tk-convert`
//! does, the first becomes a normalizer and a split, the second a property of the model and a
//! split.

use super::{broken, unsupported};
use crate::error::Result;
use serde_json::Value;
use tokenizers::SplitDelimiterBehavior as Behavior;
use tokenizers::normalizers::byte_level::ByteLevel;
use tokenizers::normalizers::metaspace::{MetaspaceNormalizer, PrependBehavior};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pipeline::{PipelineNormalizer, PipelinePreTokenizer};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::delimiter::CharDelimiterSplit;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::PipelineSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::utils::byte_level::GPT2_REGEX_STR;
use tokenizers::utils::{DEEPSEEK_PATTERNS, Grammar, recognize};

/// The components of a part: itself, or what its `Sequence`s list under `members`. None for `null`.
pub(super) fn list<'a>(part: &'a Value, role: &str, members: &str) -> Result<Vec<(&'a str, &'a Value)>> {
    if part.is_null() {
        return Ok(Vec::new());
    }
    match string(part, "type") {
        Some("Sequence") => {
            let listed = part.get(members).and_then(Value::as_array);
            let listed = listed.ok_or_else(|| broken(format!("{role} `Sequence`: no `{members}`")))?;
            let mut all = Vec::new();
            for member in listed {
                all.append(&mut list(member, role, members)?);
            }
            Ok(all)
        }
        Some(kind) => Ok(vec![(kind, part)]),
        None => Err(broken(format!("{role}: no `type`"))),
    }
}

fn string<'a>(part: &'a Value, key: &str) -> Option<&'a str> {
    part.get(key)?.as_str()
}

/// A field that must be there.
pub(super) fn text<'a>(part: &'a Value, key: &str) -> Result<&'a str> {
    string(part, key).ok_or_else(|| lacks(part, key))
}

pub(super) fn flag(part: &Value, key: &str) -> Result<bool> {
    part.get(key).and_then(Value::as_bool).ok_or_else(|| lacks(part, key))
}

pub(super) fn character(part: &Value, key: &str) -> Result<char> {
    let mut chars = text(part, key)?.chars();
    chars.next().filter(|_| chars.next().is_none()).ok_or_else(|| lacks(part, key))
}

fn lacks(part: &Value, key: &str) -> crate::error::Error {
    broken(format!("`{}`: `{key}` is missing or of another type", string(part, "type").unwrap_or_default()))
}

/// The string a `Replace` looks for.
pub(super) fn replaced<'a>(part: &'a Value, role: &str) -> Result<&'a str> {
    let pattern = part.get("pattern").unwrap_or(&Value::Null);
    if let Some(regex) = string(pattern, "Regex") {
        return Err(unsupported(format!("{role} `Replace` of regex `{regex}`")));
    }
    match string(pattern, "String") {
        Some("") => Err(broken(format!("{role} `Replace`: an empty string to replace"))),
        Some(string) => Ok(string),
        None => Err(lacks(part, "pattern")),
    }
}

pub(super) fn normalizers(part: &Value) -> Result<Vec<PipelineNormalizer>> {
    let listed = list(part, "normalizer", "normalizers")?;
    listed.into_iter().map(|(kind, part)| normalizer(kind, part)).collect()
}

// Left out on purpose. `BertNormalizer`, `StripAccents`, `Nmt`, `Precompiled`: none of the model
// families needs them, and the stable crate, which judges the others, panics on some texts.
fn normalizer(kind: &str, part: &Value) -> Result<PipelineNormalizer> {
    Ok(match kind {
        "ByteLevel" => PipelineNormalizer::ByteLevel(ByteLevel),
        "Lowercase" => PipelineNormalizer::Lowercase(Lowercase),
        "NFC" => PipelineNormalizer::NFC(NFC),
        "NFD" => PipelineNormalizer::NFD(NFD),
        "NFKC" => PipelineNormalizer::NFKC(NFKC),
        "NFKD" => PipelineNormalizer::NFKD(NFKD),
        "Strip" => {
            PipelineNormalizer::Strip(Strip::new(flag(part, "strip_left")?, flag(part, "strip_right")?))
        }
        "Prepend" => PipelineNormalizer::Prepend(Prepend::new(text(part, "prepend")?.to_owned())),
        "Replace" => {
            let replace = Replace::new(replaced(part, "normalizer")?, text(part, "content")?);
            PipelineNormalizer::Replace(replace.map_err(broken)?)
        }
        _ => return Err(unsupported(format!("normalizer `{kind}`"))),
    })
}

/// How a text is cut before the model sees it.
pub(super) struct Cut {
    pub pre_tokenizer: PipelinePreTokenizer,
    /// What a `Metaspace` does to the text, after the normalizers.
    pub metaspace: Option<PipelineNormalizer>,
    /// The model's vocabulary is spelled in GPT-2's alphabet.
    pub byte_level: bool,
}

impl Cut {
    /// Errors with `Unsupported` where the two releases of the crate part: what `Metaspace` takes
    /// for the start of a text, if the normalizers took something from it.
    pub fn check_start(&self, normalizers: &[PipelineNormalizer]) -> Result<()> {
        let Some(PipelineNormalizer::Metaspace(metaspace)) = &self.metaspace else { return Ok(()) };
        let shortens = |n: &_| matches!(n, PipelineNormalizer::Strip(_) | PipelineNormalizer::Replace(_));
        if metaspace.prepend() == PrependBehavior::First && normalizers.iter().any(shortens) {
            return Err(unsupported(
                "pre_tokenizer `Metaspace` of the first word beside `Strip` or `Replace`",
            ));
        }
        Ok(())
    }
}

pub(super) fn pre_tokenizer(part: &Value) -> Result<Cut> {
    let mut listed = list(part, "pre_tokenizer", "pretokenizers")?;
    let (mut byte_level, mut metaspace) = (false, None);
    let mut parts = Vec::new();
    match listed[..] {
        [("Metaspace", part)] => {
            listed.clear();
            metaspace = Some(PipelineNormalizer::Metaspace(metaspace_normalizer(part)?));
            if part.get("split").and_then(Value::as_bool).unwrap_or(true) {
                let delimiter = SplitPattern::String(text(part, "replacement")?.to_owned());
                parts.push(split(delimiter, Behavior::MergedWithNext, false)?);
            }
        }
        [.., ("ByteLevel", part)] => {
            listed.pop();
            byte_level = true;
            if flag(part, "add_prefix_space")? {
                return Err(unsupported("pre_tokenizer `ByteLevel` that adds a space in front"));
            }
            if part.get("use_regex").and_then(Value::as_bool).unwrap_or(true) {
                parts.push(split(SplitPattern::Regex(GPT2_REGEX_STR.to_owned()), Behavior::Isolated, false)?);
            }
        }
        _ => {}
    }
    let mut all = Vec::with_capacity(listed.len() + parts.len());
    for (at, (kind, part)) in listed.iter().enumerate() {
        all.push(pre_tokenizer_part(kind, part, at < 3 && is_deepseek(&listed))?);
    }
    all.append(&mut parts);
    let pre_tokenizer = match all.len() {
        0 => PipelinePreTokenizer::None,
        1 => all.remove(0),
        _ => PipelinePreTokenizer::Sequence(PipelineSequence::new(all)),
    };
    Ok(Cut { pre_tokenizer, metaspace, byte_level })
}

/// SentencePiece's spaces. `add_prefix_space` is an older spelling of `prepend_scheme`.
fn metaspace_normalizer(part: &Value) -> Result<MetaspaceNormalizer> {
    let scheme = string(part, "prepend_scheme").unwrap_or("always");
    let prepend = match scheme {
        "always" => PrependBehavior::Always,
        "first" => PrependBehavior::First,
        "never" => PrependBehavior::Never,
        _ => return Err(broken(format!("`Metaspace`: prepend_scheme `{scheme}`"))),
    };
    if part.get("add_prefix_space").and_then(Value::as_bool) == Some(false) && scheme != "never" {
        return Err(broken("`Metaspace`: add_prefix_space contradicts prepend_scheme"));
    }
    Ok(MetaspaceNormalizer::new(character(part, "replacement")?, prepend, false))
}

fn pre_tokenizer_part(kind: &str, part: &Value, of_deepseek: bool) -> Result<PipelinePreTokenizer> {
    Ok(match kind {
        "BertPreTokenizer" => PipelinePreTokenizer::Bert(BertPreTokenizer),
        "Digits" => PipelinePreTokenizer::Digits(Digits::new(flag(part, "individual_digits")?)),
        "CharDelimiterSplit" => {
            PipelinePreTokenizer::Delimiter(CharDelimiterSplit::new(character(part, "delimiter")?))
        }
        "Punctuation" => PipelinePreTokenizer::Punctuation(Punctuation::new(behavior(part)?)),
        "Whitespace" => PipelinePreTokenizer::Whitespace(Whitespace),
        "WhitespaceSplit" => PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit),
        "Split" => {
            let pattern = part.get("pattern").unwrap_or(&Value::Null);
            let (behavior, invert) = (behavior(part)?, flag(part, "invert")?);
            match (string(pattern, "String"), string(pattern, "Regex")) {
                (Some(""), _) => return Err(broken("pre_tokenizer `Split`: an empty string to split at")),
                (Some(text), _) => split(SplitPattern::String(text.to_owned()), behavior, invert)?,
                (None, Some(regex)) if of_deepseek || is_built_in(regex, behavior, invert) => {
                    split(SplitPattern::Regex(regex.to_owned()), behavior, invert)?
                }
                (None, Some(regex)) => {
                    return Err(unsupported(format!("pre_tokenizer `Split` by regex `{regex}`")));
                }
                (None, None) => return Err(lacks(part, "pattern")),
            }
        }
        _ => return Err(unsupported(format!("pre_tokenizer `{kind}`"))),
    })
}

fn split(pattern: SplitPattern, behavior: Behavior, invert: bool) -> Result<PipelinePreTokenizer> {
    let split = Split::native(pattern, behavior, invert).and_then(Split::canonicalized_for_pipeline);
    split.map(PipelinePreTokenizer::Split).map_err(broken)
}

/// Whether the crate runs this regex without an engine: as its matches, which leave no gaps. Of
/// the digits in the `cl100k` family, it knows 1 and 3 but takes other numbers for 3 (1.0.0-rc.3).
fn is_built_in(regex: &str, behavior: Behavior, invert: bool) -> bool {
    let known = match recognize(regex) {
        Some(Grammar::Cl100k { digit_cap }) => matches!(digit_cap, 1 | 3),
        grammar => grammar.is_some(),
    };
    known && matches!((behavior, invert), (Behavior::Isolated, false) | (Behavior::Removed, true))
}

/// Whether these start with DeepSeek's three splits, which the crate runs as one.
fn is_deepseek(listed: &[(&str, &Value)]) -> bool {
    let mut patterns = listed.iter().map(|(_, part)| {
        let isolated = string(part, "behavior") == Some("Isolated") && !flag(part, "invert").unwrap_or(true);
        part.pointer("/pattern/Regex").and_then(Value::as_str).filter(|_| isolated)
    });
    listed.len() == 3 && DEEPSEEK_PATTERNS.iter().all(|regex| patterns.next().flatten() == Some(regex))
}

fn behavior(part: &Value) -> Result<Behavior> {
    Ok(match text(part, "behavior")? {
        "Removed" => Behavior::Removed,
        "Isolated" => Behavior::Isolated,
        "MergedWithPrevious" => Behavior::MergedWithPrevious,
        "MergedWithNext" => Behavior::MergedWithNext,
        "Contiguous" => Behavior::Contiguous,
        _ => return Err(lacks(part, "behavior")),
    })
}

/// The ids a post-processor puts around a text.
#[derive(Clone, Default)]
pub(super) struct Template {
    pub before: Vec<u32>,
    pub after: Vec<u32>,
}

/// `vocab_size`: what the ids must stay below.
pub(super) fn template(part: &Value, vocab_size: usize) -> Result<Template> {
    let mut all = Template::default();
    for (kind, part) in list(part, "post_processor", "processors")? {
        match kind {
            // It moves offsets, which are not kept.
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let Template { mut before, after } = template_for_one(part, vocab_size)?;
                before.append(&mut all.before);
                all.before = before;
                all.after.extend(after);
            }
            _ => return Err(unsupported(format!("post_processor `{kind}`"))),
        }
    }
    Ok(all)
}

/// The template for one text names that text once (`A`), and special tokens that it defines.
fn template_for_one(part: &Value, vocab_size: usize) -> Result<Template> {
    let mut template = Template::default();
    let mut seen = false;
    for piece in part.get("single").and_then(Value::as_array).ok_or_else(|| lacks(part, "single"))? {
        if let Some(sequence) = piece.get("Sequence") {
            if seen || string(sequence, "id") != Some("A") {
                return Err(broken("template for one text: expected `A`, once"));
            }
            seen = true;
        } else {
            let name = piece.get("SpecialToken").and_then(|special| string(special, "id"));
            let name = name.ok_or_else(|| broken("template: neither a text nor a special token"))?;
            let ids = part.get("special_tokens").and_then(|all| all.get(name)?.get("ids")?.as_array());
            for id in ids.ok_or_else(|| broken(format!("template: special token `{name}` is not defined")))? {
                let known = id.as_u64().filter(|&id| id < vocab_size as u64);
                let known = known.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                    broken(format!("template: special token `{name}`: id {id}, expected below {vocab_size}"))
                })?;
                if seen { &mut template.after } else { &mut template.before }.push(known);
            }
        }
    }
    if seen { Ok(template) } else { Err(broken("template for one text: expected `A`, once")) }
}
