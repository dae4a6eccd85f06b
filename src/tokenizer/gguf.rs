//! The tokenizer tables of a GGUF file, as the parts that a `tokenizer.json` would give.
//! Not a reader of GGUF: whoever read the file fills in the tables.
//!
//! Followed from llama.cpp's `llama-vocab.cpp`. Where that and the `tokenizer.json` of the same model
//! part, `tokenizer.json` is followed: special tokens are found in a text, and Qwen2's text is
//! brought into NFC.

use super::components::Template;
use super::file::{AddedToken, File, Merges, Model, Vocab, two_tokens};
use super::pre::Pre;
use super::{Parts, Tokenizer, broken, unsupported};
use crate::error::Result;
use crate::order::largest_first;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The keys after `tokenizer.ggml.`, by their own names where they are not shortened.
#[derive(Clone, Copy, Debug, Default)]
pub struct GgufTokenizer<'a> {
    /// `gpt2`: byte-level BPE; `llama`: SentencePiece's BPE with byte fallback; `bert`: WordPiece.
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
    /// `seperator_token_id`, as it is spelled
    pub sep: Option<u32>,
    /// `add_bos_token`
    pub add_bos: Option<bool>,
    /// `add_eos_token`
    pub add_eos: Option<bool>,
    /// `add_sep_token`, BPE's
    pub add_sep: Option<bool>,
    /// SentencePiece's: whether a text begins as a word does.
    pub add_space_prefix: Option<bool>,
    /// WordPiece's `normalizer.lowercase`
    pub lowercase: Option<bool>,
    /// WordPiece's `normalizer.strip_accents`
    pub strip_accents: Option<bool>,
    /// `tokenizer.chat_template`
    pub chat_template: Option<&'a str>,
    /// `tokenizer.chat_template.tool_use`
    pub tool_use_template: Option<&'a str>,
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

const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}"#;

/// BERT's special tokens, found in a text as they stand.
const BERT_SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

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
        let (file, adds_bos, adds_sep) = match self.model {
            "gpt2" => {
                let pre = Pre::named(self.pre)?;
                let (adds_bos, adds_sep) = (pre.adds_bos, self.add_sep.unwrap_or(pre.adds_sep));
                (self.byte_level(pre)?, adds_bos, adds_sep)
            }
            "llama" => (self.sentence_piece()?, true, false),
            "bert" => return self.word_piece(),
            other => return Err(unsupported(format!("model `{other}`"))),
        };
        let mut parts = Parts::new(file)?;
        // A text has one end: where both are asked for, they are one token.
        let after = match self.around(self.add_eos.unwrap_or(false), "eos", self.eos)? {
            none if none.is_empty() => self.around(adds_sep, "sep", self.sep)?,
            after => after,
        };
        parts.template =
            Template { before: self.around(self.add_bos.unwrap_or(adds_bos), "bos", self.bos)?, after };
        parts.chat_template = self.chat_template.map(str::to_owned);
        parts.tool_use_template = self.tool_use_template.map(str::to_owned);
        Ok(Tokenizer::of(parts))
    }

    /// A token put around a text.
    fn around(&self, add: bool, name: &str, id: Option<u32>) -> Result<Vec<u32>> {
        match id {
            _ if !add => Ok(Vec::new()),
            Some(id) if (id as usize) < self.tokens.len() => Ok(vec![id]),
            Some(id) => Err(broken(format!("{name}_token_id {id}, expected below {}", self.tokens.len()))),
            None => {
                let id = if name == "sep" { "seperator" } else { name };
                Err(broken(format!("add_{name}_token, and no {id}_token_id")))
            }
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

    fn byte_level(&self, pre: Pre) -> Result<File> {
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
            normalizer: pre.normalizer,
            pre_tokenizer: pre.pre_tokenizer,
            post_processor: Value::Null,
            decoder: part(BYTE_LEVEL)?,
            model: Model { merges, ignore_merges: Some(pre.ignore_merges), ..self.bpe() },
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
        let mut added_tokens = self.added_tokens();
        if self.add_space_prefix == Some(false) {
            // SentencePiece finds them among its own spaces.
            let of_spaces = |token: &AddedToken| !token.special && token.content.contains(' ');
            added_tokens.iter_mut().for_each(|token| token.normalized = of_spaces(token));
        }
        Ok(File {
            added_tokens,
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
            max_input_chars_per_word: None,
        }
    }

    /// BERT's. A word's first token is written with SentencePiece's space, further ones without BERT's `##`;
    /// around a text stand the first token and the separator, whatever the flags say.
    fn word_piece(&self) -> Result<Tokenizer> {
        let mut model = self.bpe();
        let spelled = |(id, token): (usize, &String)| match (self.kind(id), token.strip_prefix('▁')) {
            (Kind::Special, _) => token.clone(),
            // Older converters know no special tokens and leave those in brackets.
            _ if token.starts_with('[') && token.ends_with(']') && token.len() > 2 => token.clone(),
            (_, Some(first)) => first.to_owned(),
            (_, None) => format!("##{token}"),
        };
        let spelled: Vec<String> = self.tokens.iter().enumerate().map(spelled).collect();
        model.vocab.tokens = Default::default();
        spelled.iter().for_each(|token| model.vocab.tokens.push(token));
        model.kind = Some("WordPiece".to_owned());
        model.unk_token = spelled.get(self.unknown.unwrap_or(100) as usize).cloned();
        let added = (0..).zip(&spelled).filter(|(_, token)| BERT_SPECIAL.contains(&token.as_str()));
        let lowercase = self.lowercase.unwrap_or(true);
        let file = File {
            added_tokens: added.map(|(id, token)| added_token(id, token, true)).collect(),
            normalizer: json!({
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": self.strip_accents.unwrap_or(lowercase), "lowercase": lowercase,
            }),
            pre_tokenizer: json!({ "type": "BertPreTokenizer" }),
            post_processor: Value::Null,
            decoder: json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
            model,
        };
        let mut parts = Parts::new(file)?;
        parts.template = Template {
            before: self.around(true, "bos", self.bos.or(Some(101)))?,
            after: self.around(true, "sep", self.sep.or(Some(102)))?,
        };
        Ok(Tokenizer::of(parts))
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |(id, content): (u32, &String)| {
            let kind = self.kind(id as usize);
            matches!(kind, Kind::Special | Kind::UserDefined)
                .then(|| added_token(id, content, kind == Kind::Special))
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

fn added_token(id: u32, content: &str, special: bool) -> AddedToken {
    let content = content.to_owned();
    AddedToken { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }
}

fn part(json: &str) -> Result<Value> {
    serde_json::from_slice(json.as_bytes()).map_err(broken)
}

fn sequence(members: &str, parts: &str) -> Result<Value> {
    part(&format!(r#"{{"type": "Sequence", "{members}": [{parts}]}}"#))
}
