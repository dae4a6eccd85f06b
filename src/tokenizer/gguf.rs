//! The tokenizer tables of a GGUF file, as the parts that a `tokenizer.json` would give.
//! Not a reader of GGUF: whoever read the file fills in the tables.
//!
//! Followed from llama.cpp's `llama-vocab.cpp`. Where that and the `tokenizer.json` of the same model
//! part, `tokenizer.json` is followed: special tokens are found in a text, and Qwen2's text is
//! brought into NFC.

use super::components::Template;
use super::file::{AddedToken, File, Merges, Model, Vocab, two_tokens};
use super::{Parts, Tokenizer, broken, unsupported};
use crate::error::Result;
use crate::order::largest_first;
use serde_json::Value;
use std::collections::HashSet;

/// The keys after `tokenizer.ggml.`, by their own names where they are not shortened.
#[derive(Clone, Copy, Debug, Default)]
pub struct GgufTokenizer<'a> {
    /// `gpt2`: byte-level BPE; `llama`: SentencePiece's BPE with byte fallback.
    pub model: &'a str,
    /// How BPE cuts a text before it merges.
    pub pre: Option<&'a str>,
    /// By id.
    pub tokens: &'a [String],
    /// By id, SentencePiece's: what makes the highest is merged first.
    pub scores: &'a [f64],
    /// `token_type`, by id: see [`Kind`].
    pub token_type: &'a [i64],
    /// BPE's, `"a b"`, the first to be merged first.
    pub merges: &'a [String],
    /// `unknown_token_id`
    pub unknown: Option<u32>,
    /// `bos_token_id`
    pub bos: Option<u32>,
    /// `eos_token_id`
    pub eos: Option<u32>,
    /// `add_bos_token`
    pub add_bos: Option<bool>,
    /// `add_eos_token`
    pub add_eos: Option<bool>,
    /// SentencePiece's: whether a text begins as a word does.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`
    pub chat_template: Option<&'a str>,
}

/// `token_type`; other numbers are bytes (6), tokens that are not used (5), and none.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Special,
    UserDefined,
    Other,
}

/// Longest token of SentencePiece's that merges make, bytes: every way to cut it in two is tried.
const MAX_PIECE_BYTES: usize = 256;

/// How Llama 3 and Qwen2 cut a text, in JSON: before and after their pattern of digits.
const CUT: [&str; 2] = [
    r#"{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"#,
    r#"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}"#,
];
const LLAMA3_DIGITS: &str = r"\\p{N}{1,3}";
const QWEN2_DIGITS: &str = r"\\p{N}";

/// GPT-2's cut, and that of others, who only spell in bytes what is cut already.
const BYTE_LEVEL_CUTS: &str = r#"{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}"#;
const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}"#;
const DIGITS: &str = r#"{"type": "Digits", "individual_digits": true}"#;

/// SentencePiece's spaces, and back.
const SPACES: &str = r#"{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}"#;
const PREFIX: &str = r#"{"type": "Prepend", "prepend": "▁"}"#;
const DECODER: &str = r#"{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}"#;
const STRIP: &str = r#"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#;

impl Tokenizer {
    /// Builds the tokenizer of a GGUF file.
    ///
    /// Errors with `Format` if the tables contradict each other, `Unsupported` naming a model or a
    /// way to cut a text that this crate does not run.
    pub fn from_gguf(tables: &GgufTokenizer) -> Result<Self> {
        tables.build().map_err(|e| e.context("GGUF tokenizer"))
    }
}

impl GgufTokenizer<'_> {
    fn build(&self) -> Result<Tokenizer> {
        let n = self.tokens.len();
        for (name, len) in [("scores", self.scores.len()), ("token_type", self.token_type.len())] {
            if len != n && len != 0 {
                return Err(broken(format!("{n} tokens, and {len} {name}")));
            }
        }
        let (file, adds_bos) = match self.model {
            "gpt2" => (self.byte_level()?, is_llama3(self.pre)),
            "llama" => (self.sentence_piece()?, true),
            other => return Err(unsupported(format!("model `{other}`"))),
        };
        let mut parts = Parts::new(file)?;
        parts.template = Template {
            before: self.around(self.add_bos.unwrap_or(adds_bos), "bos", self.bos)?,
            after: self.around(self.add_eos.unwrap_or(false), "eos", self.eos)?,
        };
        parts.chat_template = self.chat_template.map(str::to_owned);
        Ok(Tokenizer::of(parts))
    }

    /// A token put around a text.
    fn around(&self, add: bool, name: &str, id: Option<u32>) -> Result<Vec<u32>> {
        match id {
            _ if !add => Ok(Vec::new()),
            Some(id) if (id as usize) < self.tokens.len() => Ok(vec![id]),
            Some(id) => Err(broken(format!("{name}_token_id {id}, expected below {}", self.tokens.len()))),
            None => Err(broken(format!("add_{name}_token, and no {name}_token_id"))),
        }
    }

    fn kind(&self, id: usize) -> Kind {
        match self.token_type.get(id) {
            None | Some(1) => Kind::Normal,
            Some(2 | 3) => Kind::Special,
            Some(4) => Kind::UserDefined,
            _ => Kind::Other,
        }
    }

    fn byte_level(&self) -> Result<File> {
        let cut = |digits| CUT.join(digits);
        let (normalizer, parts) = match self.pre {
            Some("gpt-2") => ("null", vec![BYTE_LEVEL_CUTS.to_owned()]),
            Some("smollm") => ("null", vec![DIGITS.to_owned(), BYTE_LEVEL_CUTS.to_owned()]),
            Some("qwen2") => (r#"{"type": "NFC"}"#, vec![cut(QWEN2_DIGITS), BYTE_LEVEL.to_owned()]),
            Some("deepseek-r1-qwen") => ("null", vec![cut(QWEN2_DIGITS), BYTE_LEVEL.to_owned()]),
            pre if is_llama3(pre) => ("null", vec![cut(LLAMA3_DIGITS), BYTE_LEVEL.to_owned()]),
            Some(other) => return Err(unsupported(format!("pre `{other}`"))),
            None => return Err(unsupported("BPE without `pre`, which says how a text is cut")),
        };
        // A merge that names or makes no token is never reached, and in some files.
        let known: HashSet<&str> = self.tokens.iter().map(String::as_str).collect();
        let (mut merges, mut made) = (Merges::default(), String::new());
        for line in self.merges {
            let (a, b) = two_tokens(line).map_err(broken)?;
            made.clear();
            made.push_str(a);
            made.push_str(b);
            if [a, b, &made].into_iter().all(|token| known.contains(token)) {
                merges.push(a, b);
            }
        }
        Ok(File {
            added_tokens: self.added_tokens(),
            normalizer: part(normalizer)?,
            pre_tokenizer: sequence("pretokenizers", &parts.join(","))?,
            post_processor: Value::Null,
            decoder: part(BYTE_LEVEL)?,
            model: Model { merges, ignore_merges: Some(is_llama3(self.pre)), ..self.bpe() },
        })
    }

    fn sentence_piece(&self) -> Result<File> {
        let (normalizer, decoder) = if self.add_space_prefix.unwrap_or(true) {
            ([PREFIX, SPACES].join(","), [DECODER, STRIP].join(","))
        } else {
            (SPACES.to_owned(), DECODER.to_owned())
        };
        let unknown = self.unknown.and_then(|id| self.tokens.get(id as usize)).cloned();
        let has_bytes = self.tokens.iter().any(|token| token == "<0x00>");
        Ok(File {
            added_tokens: self.added_tokens(),
            normalizer: sequence("normalizers", &normalizer)?,
            pre_tokenizer: Value::Null,
            post_processor: Value::Null,
            decoder: sequence("decoders", &decoder)?,
            model: Model {
                merges: self.merges_by_score()?,
                unk_token: unknown,
                fuse_unk: Some(true),
                byte_fallback: Some(has_bytes),
                ..self.bpe()
            },
        })
    }

    /// A model of all tokens and no merges.
    fn bpe(&self) -> Model {
        let mut vocab = Vocab::default();
        for (id, token) in (0..).zip(self.tokens) {
            vocab.tokens.push(token);
            vocab.ids.push(id);
        }
        Model {
            kind: Some("BPE".to_owned()),
            vocab,
            merges: Merges::default(),
            dropout: None,
            unk_token: None,
            unk_id: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: None,
            byte_fallback: None,
            ignore_merges: None,
        }
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |(id, content): (u32, &String)| {
            let kind = self.kind(id as usize);
            matches!(kind, Kind::Special | Kind::UserDefined).then(|| AddedToken {
                id,
                content: content.clone(),
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special: kind == Kind::Special,
            })
        };
        (0..).zip(self.tokens).filter_map(added).collect()
    }

    /// Every cut of a piece in two others, as transformers makes merges of SentencePiece's scores:
    /// by score, and of one piece the longer first half first. Pieces of equal scores, which some
    /// converters write, come by id: SentencePiece numbers them in the order of its merges.
    fn merges_by_score(&self) -> Result<Merges> {
        let (mut pieces, mut scores): (Vec<&str>, Vec<f64>) = Default::default();
        for (id, token) in self.tokens.iter().enumerate() {
            if self.kind(id) != Kind::Normal {
                continue;
            }
            if token.len() > MAX_PIECE_BYTES {
                let bytes = token.len();
                return Err(unsupported(format!("token {id} of {bytes} bytes, more than {MAX_PIECE_BYTES}")));
            }
            pieces.push(token);
            scores.push(self.scores.get(id).copied().unwrap_or(0.0));
        }
        let known: HashSet<&str> = pieces.iter().copied().collect();
        let mut merges = Merges::default();
        for token in largest_first(&scores).into_iter().map(|at| pieces[at]) {
            let cuts = token.char_indices().rev().filter(|&(at, _)| at > 0).map(|(at, _)| token.split_at(at));
            let both_known = cuts.filter(|(a, b)| known.contains(a) && known.contains(b));
            both_known.for_each(|(a, b)| merges.push(a, b));
        }
        Ok(merges)
    }
}

fn part(json: &str) -> Result<Value> {
    serde_json::from_slice(json.as_bytes()).map_err(broken)
}

fn sequence(members: &str, parts: &str) -> Result<Value> {
    part(&format!(r#"{{"type": "Sequence", "{members}": [{parts}]}}"#))
}

fn is_llama3(pre: Option<&str>) -> bool {
    matches!(pre, Some("llama-bpe" | "llama3" | "llama-v3"))
}
