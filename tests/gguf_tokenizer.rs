//! Tokenizers of GGUF files against the `tokenizer.json` of the same model.
#![cfg(not(target_arch = "wasm32"))]

#[path = "common/real.rs"]
mod real;

use std::collections::HashMap;

use lorakeet::ErrorKind;
use lorakeet::tokenizer::{GgufTokenizer, Tokenizer};
use serde_json::{Value, json};

const TEXTS: [&str; 9] = [
    "",
    "  two spaces,\ttab\nand a line\r\n\r\n  end  ",
    "naïve café, cafe\u{301}; 漢字かな交じり文; 한국어",
    "family 👨‍👩‍👧‍👦, flag 🇺🇦, skin 👍🏽, zero\u{200d}width",
    "a<|endoftext|>b</s>c<s>d<unk>e<|eot_id|>f<|im_end|>",
    "don't WE'LL they've 12345678 ---- ______",
    "1 12 123 1234 12345 1,234,567.89 ½ ² ٣٤ Ⅻ ①",
    "let x: Vec<_> = (0..=9).collect();\n\tif (x[3] != 6) { return \"\\n\"; }\n\n\n",
    "“Curiouser and curiouser!” cried Alice (she was so much surprised)",
];

/// What a converter writes of a `tokenizer.json`.
#[derive(Default)]
struct Tables {
    tokens: Vec<String>,
    scores: Vec<f64>,
    token_type: Vec<i64>,
    merges: Vec<String>,
}

fn tables(json: &Value) -> Tables {
    let vocab = json["model"]["vocab"].as_object().expect("a vocabulary");
    let added = json["added_tokens"].as_array().expect("added tokens");
    let mut tokens: Vec<(u64, &str, i64)> =
        vocab.iter().map(|(token, id)| (id.as_u64().expect("an id"), token.as_str(), 1)).collect();
    for token in added {
        let (id, content) =
            (token["id"].as_u64().expect("an id"), token["content"].as_str().expect("a text"));
        tokens.retain(|(other, ..)| *other != id);
        tokens.push((id, content, if token["special"] == true { 3 } else { 4 }));
    }
    tokens.sort_unstable();
    let merges = json["model"]["merges"].as_array().expect("merges").iter();
    let merges = merges.map(|merge| match merge {
        Value::String(line) => line.clone(),
        pair => format!("{} {}", pair[0].as_str().expect("a text"), pair[1].as_str().expect("a text")),
    });
    let merges: Vec<String> = merges.collect();
    let mut ranks = HashMap::new();
    for (rank, merge) in merges.iter().enumerate() {
        ranks.entry(merge.replace(' ', "")).or_insert(rank);
    }
    let score = |token: &str| -(*ranks.get(token).unwrap_or(&merges.len()) as f64);
    Tables {
        scores: tokens.iter().map(|(_, token, _)| score(token)).collect(),
        token_type: tokens.iter().map(|(.., kind)| *kind).collect(),
        tokens: tokens.into_iter().map(|(_, token, _)| token.to_owned()).collect(),
        merges,
    }
}

impl Tables {
    fn byte_level<'a>(&'a self, pre: &'a str) -> GgufTokenizer<'a> {
        GgufTokenizer {
            model: "gpt2",
            pre: Some(pre),
            tokens: &self.tokens,
            token_type: &self.token_type,
            merges: &self.merges,
            ..GgufTokenizer::default()
        }
    }

    fn sentence_piece(&self) -> GgufTokenizer<'_> {
        GgufTokenizer {
            model: "llama",
            tokens: &self.tokens,
            scores: &self.scores,
            token_type: &self.token_type,
            unknown: Some(0),
            bos: Some(1),
            eos: Some(2),
            ..GgufTokenizer::default()
        }
    }
}

/// The first text that is not the same ids, and back the same text.
fn parts_at<'t>(a: &Tokenizer, b: &Tokenizer, texts: &[&'t str]) -> Option<&'t str> {
    texts.iter().copied().find(|text| {
        let ids = [a, b].map(|tokenizer| tokenizer.encode(text, true).expect("valid"));
        let back = [a, b].map(|tokenizer| tokenizer.decode(&ids[0], true).expect("valid"));
        ids[0] != ids[1] || back[0] != back[1]
    })
}

#[test]
fn byte_level_is_the_fixtures() {
    let file = include_bytes!("fixtures/tokenizer/tokenizer.json");
    let json: Value = serde_json::from_slice(file).expect("JSON");
    let (want, tables) = (Tokenizer::from_json(file).expect("valid"), tables(&json));
    let gguf = Tokenizer::from_gguf(&tables.byte_level("gpt-2")).expect("valid");
    assert_eq!(parts_at(&gguf, &want, &TEXTS), None);
    assert_eq!((gguf.vocab_size(), gguf.chat_template()), (want.vocab_size(), None));
}

/// SmolLM's cut is GPT-2's with every digit alone.
#[test]
fn smollm_cuts_digits() {
    let mut json: Value =
        serde_json::from_slice(include_bytes!("fixtures/tokenizer/tokenizer.json")).expect("JSON");
    // A merge of digits, which must not happen.
    json["model"]["vocab"]["12"] = json!(300);
    json["model"]["merges"].as_array_mut().expect("merges").insert(0, json!(["1", "2"]));
    let tables = tables(&json);
    let gguf = Tokenizer::from_gguf(&tables.byte_level("smollm")).expect("valid");
    let whole = Tokenizer::from_json(json.to_string().as_bytes()).expect("valid");
    assert!(parts_at(&gguf, &whole, &TEXTS).is_some());
    let digits = json!({"type": "Digits", "individual_digits": true});
    json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [digits, json["pre_tokenizer"]]});
    let cut = Tokenizer::from_json(json.to_string().as_bytes()).expect("valid");
    assert_eq!(parts_at(&gguf, &cut, &TEXTS), None);
}

/// A merge of which a part, or what it makes, is no token is never reached.
#[test]
fn a_merge_without_its_token_is_skipped() {
    let tokens = ["a", "b", "c", "ab"].map(str::to_owned);
    let merges = ["b c", "x b", "a y", "a b"].map(str::to_owned);
    let tables = GgufTokenizer {
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens: &tokens,
        merges: &merges,
        ..GgufTokenizer::default()
    };
    let tokenizer = Tokenizer::from_gguf(&tables).expect("valid");
    assert_eq!(tokenizer.encode("abcd", false).expect("valid"), [3, 2], "and `d` is no token");
}

/// Scores decide, the longer first half of two cuts comes first, and pieces of one score go by id.
#[test]
fn sentence_piece_merges_by_score() {
    let mut tokens =
        ["<unk>", "<s>", "</s>", "x", "▁", "a", "b", "ab", "▁a", "ba", "aba"].map(str::to_owned).to_vec();
    let byte = tokens.len() as u32;
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let scores = |last: [f64; 4]| [&[0.0; 7][..], &last, &[0.0; 256]].concat();
    let token_type = [&[2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1][..], &[6; 256]].concat();
    let build = |scores: &[f64], add_space_prefix| {
        let tables = GgufTokenizer {
            model: "llama",
            tokens: &tokens,
            scores,
            token_type: &token_type,
            unknown: Some(0),
            bos: Some(1),
            eos: Some(2),
            add_space_prefix,
            ..GgufTokenizer::default()
        };
        Tokenizer::from_gguf(&tables).expect("valid")
    };
    let ids = |tokenizer: &Tokenizer, text| tokenizer.encode(text, false).expect("valid");
    let first_ab = build(&scores([-1.0, -2.0, -3.0, -4.0]), None);
    assert_eq!(ids(&first_ab, "aba"), [4, 10], "ab, then ab a");
    assert_eq!(ids(&first_ab, "ab!"), [4, 7, byte + 0x21]);
    assert_eq!(ids(&first_ab, "é"), [4, byte + 0xc3, byte + 0xa9]);
    let first_space = build(&scores([-2.0, -1.0, -3.0, -4.0]), None);
    assert_eq!(ids(&first_space, "aba"), [8, 9]);
    assert_eq!(ids(&build(&[7.0; 267], None), "aba"), [4, 10], "by id");
    let bare = build(&scores([-1.0, -2.0, -3.0, -4.0]), Some(false));
    assert_eq!((ids(&bare, "ab"), ids(&bare, " ab")), (vec![7], vec![4, 7]));
    assert_eq!(first_ab.encode("ab", true).expect("valid"), [1, 4, 7], "a beginning, no end");
    assert_eq!(first_ab.decode(&[1, 4, 7, byte + 0x21], true).expect("valid"), "ab!");
    assert_eq!(bare.decode(&[4, 7], true).expect("valid"), " ab");
}

#[test]
fn tables_that_lie() {
    let tokens = ["<s>", "a", "a"].map(str::to_owned);
    let two = &tokens[..2];
    let spm = GgufTokenizer { model: "llama", tokens: two, bos: Some(0), ..GgufTokenizer::default() };
    Tokenizer::from_gguf(&spm).expect("valid");
    let bpe = GgufTokenizer { model: "gpt2", pre: Some("gpt-2"), ..spm };
    let long = [String::from("a"), "b".repeat(257)];
    let merge = ["a".to_owned()];
    use ErrorKind::{Format, Unsupported};
    let cases: [(GgufTokenizer, ErrorKind, &str); 12] = [
        (GgufTokenizer { model: "bert", ..spm }, Unsupported, "model `bert`: not supported"),
        (GgufTokenizer { pre: Some("viking"), ..bpe }, Unsupported, "pre `viking`: not supported"),
        (
            GgufTokenizer { pre: None, ..bpe },
            Unsupported,
            "BPE without `pre`, which says how a text is cut: not supported",
        ),
        (GgufTokenizer { tokens: &tokens, ..spm }, Format, "token `a` appears twice"),
        (
            GgufTokenizer { tokens: &[], bos: None, add_bos: Some(false), ..spm },
            Format,
            "the vocabulary is empty",
        ),
        (GgufTokenizer { scores: &[0.0], ..spm }, Format, "2 tokens, and 1 scores"),
        (GgufTokenizer { token_type: &[1; 3], ..spm }, Format, "2 tokens, and 3 token_type"),
        (GgufTokenizer { bos: None, ..spm }, Format, "add_bos_token, and no bos_token_id"),
        (GgufTokenizer { bos: Some(2), ..spm }, Format, "bos_token_id 2, expected below 2"),
        (GgufTokenizer { add_eos: Some(true), ..spm }, Format, "add_eos_token, and no eos_token_id"),
        (GgufTokenizer { merges: &merge, ..bpe }, Format, "merge `a`: expected two tokens and a space"),
        (
            GgufTokenizer { tokens: &long, ..spm },
            Unsupported,
            "token 1 of 257 bytes, more than 256: not supported",
        ),
    ];
    for (tables, kind, words) in cases {
        let error = Tokenizer::from_gguf(&tables).expect_err(words);
        assert_eq!((error.kind(), error.to_string()), (kind, format!("GGUF tokenizer: {words}")));
    }
}

#[test]
fn real_tokenizers_are_the_same() {
    let Some(home) = real::tokenizers() else { return };
    for (name, pre) in [("gpt2", "gpt-2"), ("llama3_2", "llama-bpe"), ("qwen3", "qwen2"), ("llama2", "")] {
        let file = std::fs::read(home.join(name).join("tokenizer.json")).expect("a file");
        let json: Value = serde_json::from_slice(&file).expect("JSON");
        let (want, tables) = (Tokenizer::from_json(&file).expect("valid"), tables(&json));
        let gguf = match pre {
            "" => tables.sentence_piece(),
            "llama-bpe" => GgufTokenizer { bos: Some(128_000), ..tables.byte_level(pre) },
            pre => tables.byte_level(pre),
        };
        let ours = Tokenizer::from_gguf(&gguf).expect(name);
        assert_eq!(parts_at(&ours, &want, &TEXTS), None, "{name}");
        let novel = include_str!("../README.md");
        let lines: Vec<&str> = novel.lines().take(500).collect();
        assert_eq!(parts_at(&ours, &want, &lines), None, "{name}");
    }
}
