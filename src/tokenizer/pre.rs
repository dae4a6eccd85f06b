//! How the byte-level BPE of a GGUF file cuts a text, by the name in `tokenizer.ggml.pre`.
//! Not what it does then: `bpe.rs` merges.
//!
//! The names are llama.cpp's (`llama-vocab.cpp`). What each stands for is taken from the `tokenizer.json` of the
//! model that it is named after, where that normalizes and llama.cpp does not.

use super::unsupported;
use crate::error::Result;
use serde_json::{Value, json};

/// What a name says.
pub(super) struct Pre {
    /// Its parts are `tokenizer.json`'s.
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    /// A piece that is a token is not merged.
    pub(crate) ignore_merges: bool,
    /// Whether a text gets a beginning and an end where the file does not say.
    pub(crate) adds_bos: bool,
    pub(crate) adds_sep: bool,
}

/// English's endings, and a word with one character before it: Llama 3's and Qwen2's begin so.
macro_rules! words_of {
    ($digits:literal) => {
        concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    };
}

/// Words by their capitals, with an ending or none: Mistral's and GPT-4o's are cut so.
macro_rules! words_by_case {
    ($ending:literal, $digits:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $ending,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $ending,
            "|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    };
}

const LLAMA3: &str = words_of!(r"\p{N}{1,3}");
const QWEN2: &str = words_of!(r"\p{N}");
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const TEKKEN: &str = words_by_case!("", r"\p{N}");
const GPT4O: &str = words_by_case!(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}");

/// Names that say the same.
struct Group {
    names: &'static [&'static str],
    nfc: bool,
    /// Every digit alone, first.
    digits: bool,
    /// One after the other, what is between matches being a piece too.
    patterns: &'static [&'static str],
    /// GPT-2's pattern, last but for those of `after`.
    gpt2: bool,
    after: &'static [&'static str],
    ignore_merges: bool,
    adds_bos: bool,
    adds_sep: bool,
}

const NOTHING: Group = Group {
    names: &[],
    nfc: false,
    digits: false,
    patterns: &[],
    gpt2: false,
    after: &[],
    ignore_merges: false,
    adds_bos: false,
    adds_sep: false,
};

const GROUPS: &[Group] = &[
    Group {
        names: &[
            "gpt-2",
            "phi-2",
            "mpt",
            "jais",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "trillion",
            "granite-docling",
        ],
        gpt2: true,
        ..NOTHING
    },
    Group { names: &["olmo", "modern-bert"], nfc: true, gpt2: true, ..NOTHING },
    Group { names: &["jina-v1-en", "jina-v2-code", "roberta-bpe"], gpt2: true, adds_sep: true, ..NOTHING },
    Group {
        names: &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        digits: true,
        gpt2: true,
        ..NOTHING
    },
    Group { names: &["command-r"], nfc: true, digits: true, gpt2: true, ..NOTHING },
    Group { names: &["qwen2", "megrez"], nfc: true, patterns: &[QWEN2], ..NOTHING },
    Group {
        names: &["deepseek-r1-qwen", "stablelm2", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"],
        patterns: &[QWEN2],
        ..NOTHING
    },
    Group { names: &["qwen35"], nfc: true, patterns: &[QWEN35], ..NOTHING },
    Group {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        patterns: &[LLAMA3],
        ignore_merges: true,
        adds_bos: true,
        ..NOTHING
    },
    Group { names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], patterns: &[LLAMA3], ..NOTHING },
    Group { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, adds_bos: true, ..NOTHING },
    Group { names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], patterns: &[GPT4O], ..NOTHING },
    // What llama.cpp takes where it knows no better.
    Group {
        names: &["default"],
        patterns: &[r"[\p{P}$+<=>\^~|]+"],
        gpt2: true,
        after: &[r"\p{N}+", "[0-9][0-9][0-9]"],
        ..NOTHING
    },
];

impl Pre {
    /// Errors with `Unsupported` naming what is not known, or that there is no name.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        let Some(name) = name else {
            return Err(unsupported("BPE without `pre`, which says how a text is cut"));
        };
        let group = GROUPS.iter().find(|group| group.names.contains(&name));
        let group = group.ok_or_else(|| unsupported(format!("pre `{name}`")))?;
        let split = |pattern: &&str| json!({ "type": "Split", "behavior": "Isolated", "invert": false, "pattern": { "Regex": pattern } });
        let mut cuts: Vec<Value> = Vec::new();
        if group.digits {
            cuts.push(json!({ "type": "Digits", "individual_digits": true }));
        }
        cuts.extend(group.patterns.iter().map(split));
        if group.gpt2 && !group.after.is_empty() {
            cuts.push(split(&super::cut::GPT2));
        }
        cuts.extend(group.after.iter().map(split));
        // It spells in bytes, so it comes last.
        let cuts_too = group.gpt2 && group.after.is_empty();
        cuts.push(json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": cuts_too }));
        Ok(Self {
            normalizer: if group.nfc { json!({ "type": "NFC" }) } else { Value::Null },
            pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": cuts }),
            ignore_merges: group.ignore_merges,
            adds_bos: group.adds_bos,
            adds_sep: group.adds_sep,
        })
    }
}
