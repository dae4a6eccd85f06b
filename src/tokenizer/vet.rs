//! What must hold of a `tokenizer.json` before the `tokenizers` crate may see it.
//! Not a second parser: it stops at what the crate trusts without looking.
//!
//! The crate panics on files that are valid JSON but lie (0.23.2): a merge longer than every
//! token, a continuing-subword prefix that merges do not carry, a template that names an
//! absent special token or a second sequence, a replacement of nothing, a charsmap that is no
//! trie, chunks of length zero. It also gives an added token whichever id comes next, whatever the file says.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Ids from here on are taken for a lie: the largest vocabularies have about 2¹⁸.
const ID_LIMIT: u32 = 1 << 24;

/// The parts of the file that are checked.
#[derive(Deserialize)]
pub(super) struct Outline {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: VocabOutline,
    #[serde(default)]
    merges: MergesOutline,
    continuing_subword_prefix: Option<String>,
}

impl Outline {
    /// Parses the file and checks all that can be checked without the crate.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let outline: Self =
            serde_json::from_slice(json).map_err(|e| Error::format(format!("tokenizer: {e}")))?;
        check_kinds("normalizer", &outline.normalizer, NORMALIZERS)?;
        check_kinds("pre-tokenizer", &outline.pre_tokenizer, PRE_TOKENIZERS)?;
        check_kinds("post-processor", &outline.post_processor, POST_PROCESSORS)?;
        check_kinds("decoder", &outline.decoder, DECODERS)?;
        check_replacements(&outline.normalizer)?;
        check_templates(&outline.post_processor, outline.vocab_size())?;
        outline.model.check_merges()?;
        if let Some(id) = outline.highest_id().filter(|&id| id >= ID_LIMIT) {
            return Err(Error::format(format!("tokenizer vocabulary: id {id}, expected below {ID_LIMIT}")));
        }
        Ok(outline)
    }

    fn highest_id(&self) -> Option<u32> {
        self.added_tokens.iter().map(|token| token.id).max().max(self.model.vocab.highest_id)
    }

    /// The highest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.highest_id().map_or(0, |id| (id as usize).saturating_add(1))
    }

    /// Errors with `Format` if the crate gave an added token another id than the file says.
    pub fn check_added_tokens(&self, tokenizer: &tokenizers::Tokenizer) -> Result<()> {
        for AddedToken { id, content } in &self.added_tokens {
            let got = tokenizer.token_to_id(content);
            if got != Some(*id) && !content.is_empty() {
                let next = got.map_or("none".to_owned(), |id| id.to_string());
                return Err(Error::format(format!(
                    "added token `{content}`: id {id}, expected {next}, the next after the vocabulary"
                )));
            }
        }
        Ok(())
    }
}

// Left out on purpose. `FixedLength`, `Precompiled`: see above. `BertNormalizer`,
// `StripAccents`, `Nmt`: the crate loses count of the characters they drop from the start of a
// text, and panics later. `BPEDecoder`, `CTC`: no stream. The other post-processors: BERT's.
const NORMALIZERS: &[&str] =
    &["ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace", "Sequence", "Strip"];
const PRE_TOKENIZERS: &[&str] = &[
    "BertPreTokenizer",
    "ByteLevel",
    "Delimiter",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Sequence",
    "Split",
    "Whitespace",
    "WhitespaceSplit",
];
const POST_PROCESSORS: &[&str] = &["ByteLevel", "Sequence", "TemplateProcessing"];
const DECODERS: &[&str] =
    &["ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Sequence", "Strip", "WordPiece"];

/// Regular expressions that a normalizer may replace: they match at least one character, which
/// for others would take a regex parser to tell.
const REPLACED_REGEXES: &[&str] = &[r"\s+", " {2,}"];

/// The members of a component: itself, or what its `Sequence` lists.
const SEQUENCE_KEYS: [&str; 4] = ["normalizers", "pretokenizers", "processors", "decoders"];

fn members(part: &Value) -> impl Iterator<Item = &Value> {
    SEQUENCE_KEYS.iter().filter_map(|key| part.get(key)?.as_array()).flatten()
}

/// Errors with `Unsupported` at a component whose `type` is not listed.
fn check_kinds(role: &str, part: &Value, listed: &[&str]) -> Result<()> {
    if part.is_null() {
        return Ok(());
    }
    let kind = part
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::format(format!("tokenizer {role}: no `type`")))?;
    if !listed.contains(&kind) {
        return Err(Error::unsupported(format!("tokenizer {role} `{kind}`: not supported")));
    }
    members(part).try_for_each(|member| check_kinds(role, member, listed))
}

/// A normalizer may neither replace nor prepend nothing.
fn check_replacements(part: &Value) -> Result<()> {
    let text = |key| part.pointer(key).and_then(Value::as_str);
    if text("/pattern/String") == Some("") || text("/prepend") == Some("") {
        return Err(Error::format("tokenizer normalizer: an empty string to replace or prepend"));
    }
    if let Some(regex) = text("/pattern/Regex").filter(|regex| !REPLACED_REGEXES.contains(regex)) {
        return Err(Error::unsupported(format!(
            "tokenizer normalizer `Replace` of regex `{regex}`: not supported"
        )));
    }
    members(part).try_for_each(check_replacements)
}

/// A template for one text may name that text (`A`) and special tokens it defines.
fn check_templates(part: &Value, vocab_size: usize) -> Result<()> {
    let pieces = part.get("single").and_then(Value::as_array).into_iter().flatten();
    for piece in pieces {
        if let Some(sequence) = piece.get("Sequence")
            && sequence.get("id").and_then(Value::as_str) != Some("A")
        {
            return Err(Error::format(
                "tokenizer template: another sequence than `A` in the template for one",
            ));
        }
        if let Some(special) = piece.get("SpecialToken") {
            let name = special.get("id").and_then(Value::as_str).unwrap_or_default();
            let ids = part.get("special_tokens").and_then(|all| all.get(name)?.get("ids")?.as_array());
            let Some(ids) = ids else {
                return Err(Error::format(format!(
                    "tokenizer template: special token `{name}` is not defined"
                )));
            };
            if let Some(id) = ids.iter().find(|id| id.as_u64().is_none_or(|id| id >= vocab_size as u64)) {
                return Err(Error::format(format!(
                    "tokenizer template: special token `{name}`: id {id}, expected below {vocab_size}"
                )));
            }
        }
    }
    members(part).try_for_each(|member| check_templates(member, vocab_size))
}

impl Model {
    /// The crate copies each merged token into a buffer as long as the longest token, without
    /// the prefix of its second half, and trusts both to be there.
    fn check_merges(&self) -> Result<()> {
        let Some(shared_start) = &self.merges.shared_start else {
            return Ok(());
        };
        let prefix = self.continuing_subword_prefix.as_deref().unwrap_or_default();
        if !shared_start.starts_with(prefix) {
            return Err(Error::format(format!(
                "tokenizer merges: expected `{prefix}` before every second half"
            )));
        }
        let longest = self.merges.longest_bytes.saturating_sub(prefix.len());
        if longest > self.vocab.longest_bytes {
            return Err(Error::format(format!(
                "tokenizer merges: one makes a token of {longest} bytes, but the longest token has {}",
                self.vocab.longest_bytes
            )));
        }
        Ok(())
    }
}

/// What is remembered of `model.vocab`: a map of token to id, or Unigram's list of (token, score).
#[derive(Default)]
struct VocabOutline {
    longest_bytes: usize,
    highest_id: Option<u32>,
}

impl<'de> Deserialize<'de> for VocabOutline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VocabVisitor)
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = VocabOutline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<VocabOutline, A::Error> {
        let mut outline = VocabOutline::default();
        while let Some((token, id)) = entries.next_entry::<String, u32>()? {
            outline.longest_bytes = outline.longest_bytes.max(token.len());
            outline.highest_id = outline.highest_id.max(Some(id));
        }
        Ok(outline)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<VocabOutline, A::Error> {
        let mut outline = VocabOutline::default();
        let mut size: u32 = 0;
        while let Some((token, _)) = entries.next_element::<(String, f64)>()? {
            outline.longest_bytes = outline.longest_bytes.max(token.len());
            outline.highest_id = Some(size);
            size = size.checked_add(1).ok_or_else(|| A::Error::custom("too many tokens"))?;
        }
        Ok(outline)
    }
}

/// What is remembered of `model.merges`: a list of `"a b"` or `["a", "b"]`.
#[derive(Default)]
struct MergesOutline {
    /// The longest `a` and `b` together.
    longest_bytes: usize,
    /// What every `b` starts with; `None` without merges.
    shared_start: Option<String>,
}

impl MergesOutline {
    fn add(&mut self, a: &str, b: &str) {
        self.longest_bytes = self.longest_bytes.max(a.len().saturating_add(b.len()));
        let start = self.shared_start.get_or_insert_with(|| b.to_owned());
        let shared = start.char_indices().zip(b.chars()).find(|((_, ours), theirs)| ours != theirs);
        let shared_bytes = shared.map_or(start.len().min(b.len()), |((at, _), _)| at);
        start.truncate(shared_bytes);
    }
}

impl<'de> Deserialize<'de> for MergesOutline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Merge {
            Pair(String, String),
            Line(String),
        }

        struct MergesVisitor;

        impl<'de> Visitor<'de> for MergesVisitor {
            type Value = MergesOutline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut merges: A) -> Result<MergesOutline, A::Error> {
                let mut outline = MergesOutline::default();
                while let Some(merge) = merges.next_element()? {
                    match merge {
                        Merge::Pair(a, b) => outline.add(&a, &b),
                        // The crate skips version lines, and refuses lines of another form.
                        Merge::Line(line) if line.starts_with("#version") => {}
                        Merge::Line(line) => {
                            if let Some((a, b)) = line.split_once(' ') {
                                outline.add(a, b);
                            }
                        }
                    }
                }
                Ok(outline)
            }
        }

        deserializer.deserialize_seq(MergesVisitor)
    }
}
