//! Tokenizers of GGUF files against the `tokenizer.json` of the same model.

use crate::common::real;
use std::collections::HashMap;

use lorakeet::ErrorKind;
use lorakeet::format::gguf::{Array, Header, Value as Metadata};
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
    // A converter fills ids that nothing has.
    let fillers: Vec<(u64, String)> = {
        let known: std::collections::HashSet<u64> = tokens.iter().map(|(id, ..)| *id).collect();
        let highest = known.iter().copied().max().unwrap_or(0);
        (0..highest).filter(|id| !known.contains(id)).map(|id| (id, format!("[PAD{id}]"))).collect()
    };
    tokens.extend(fillers.iter().map(|(id, token)| (*id, token.as_str(), 5)));
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
    let file = include_bytes!("../fixtures/tokenizer/tokenizer.json");
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
        serde_json::from_slice(include_bytes!("../fixtures/tokenizer/tokenizer.json")).expect("JSON");
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
    let word_piece = ["[CLS]", "[SEP]", "▁a", "[UNK]"].map(str::to_owned);
    let bert = GgufTokenizer {
        model: "bert",
        tokens: &word_piece,
        bos: Some(0),
        sep: Some(1),
        unknown: Some(3),
        ..GgufTokenizer::default()
    };
    Tokenizer::from_gguf(&bert).expect("valid");
    let two = &tokens[..2];
    let spm = GgufTokenizer { model: "llama", tokens: two, bos: Some(0), ..GgufTokenizer::default() };
    Tokenizer::from_gguf(&spm).expect("valid");
    let bpe = GgufTokenizer { model: "gpt2", pre: Some("gpt-2"), ..spm };
    let long = [String::from("a"), "b".repeat(257)];
    let merge = ["a".to_owned()];
    use ErrorKind::{Format, Unsupported};
    let cases: [(GgufTokenizer, ErrorKind, &str); 16] = [
        (GgufTokenizer { model: "t5", ..spm }, Unsupported, "model `t5`: not supported"),
        (GgufTokenizer { bos: None, ..bert }, Format, "bos_token_id 101, expected below 4"),
        (GgufTokenizer { sep: Some(4), ..bert }, Format, "sep_token_id 4, expected below 4"),
        (GgufTokenizer { tokens: &tokens, ..bert }, Format, "token `##a` appears twice"),
        (GgufTokenizer { add_sep: Some(true), ..bpe }, Format, "add_sep_token, and no seperator_token_id"),
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
    let names = [
        ("gpt2", "gpt-2"),
        ("llama3_2", "llama-bpe"),
        ("qwen3", "qwen2"),
        ("mistral_nemo", "tekken"),
        ("command_r_plus", "command-r"),
        ("gpt4o", "gpt-4o"),
        ("llama2", ""),
    ];
    for (name, pre) in names {
        let file = std::fs::read(home.join(name).join("tokenizer.json")).expect("a file");
        let mut json: Value = serde_json::from_slice(&file).expect("JSON");
        if pre == "command-r" {
            // It puts two tokens behind a text, as no GGUF file says.
            json["post_processor"] = Value::Null;
        }
        let want = Tokenizer::from_json(json.to_string().as_bytes()).expect("valid");
        let tables = tables(&json);
        let gguf = match pre {
            "" => tables.sentence_piece(),
            "llama-bpe" => GgufTokenizer { bos: Some(128_000), ..tables.byte_level(pre) },
            "tekken" => GgufTokenizer { bos: Some(1), ..tables.byte_level(pre) },
            pre => tables.byte_level(pre),
        };
        let ours = Tokenizer::from_gguf(&gguf).expect(name);
        assert_eq!(parts_at(&ours, &want, &TEXTS), None, "{name}");
        let novel = include_str!("../../README.md");
        let lines: Vec<&str> = novel.lines().take(500).collect();
        assert_eq!(parts_at(&ours, &want, &lines), None, "{name}");
    }
}

/// Gemma 3's as published for llama.cpp: SentencePiece with 262,144 tokens, some thousand of them found as they stand.
#[test]
fn a_real_sentence_piece_is_the_folders() {
    let gguf = real::at_hand("gemma3/gemma-3-270m-q4_k_m.gguf");
    let (Some(gguf), Some(home)) = (gguf, real::tokenizers()) else { return };
    let file = std::fs::read(gguf).expect("a file");
    let header = Header::from_file_bytes(&file).expect("a header");
    let array = |name: &str| match &header.metadata[&format!("tokenizer.ggml.{name}")] {
        Metadata::Array(array) => array.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let (Array::Text(tokens), Array::Float(scores), Array::Signed(token_type)) =
        (array("tokens"), array("scores"), array("token_type"))
    else {
        panic!("tables of other types")
    };
    let ours = Tokenizer::from_gguf(&GgufTokenizer {
        model: "llama",
        tokens: &tokens,
        scores: &scores,
        token_type: &token_type,
        unknown: Some(3),
        bos: Some(2),
        eos: Some(1),
        add_space_prefix: Some(false),
        ..GgufTokenizer::default()
    })
    .expect("valid");
    let json = std::fs::read(home.join("gemma3/tokenizer.json")).expect("a file");
    let want = Tokenizer::from_json(&json).expect("valid");
    let written = [
        include_str!("../../README.md"),
        include_str!("../../src/engine/facade.rs"),
        include_str!("tokenizer.rs"),
    ];
    let lines: Vec<&str> = written.iter().flat_map(|text| text.lines()).collect();
    assert_eq!(parts_at(&ours, &want, &[&lines[..], &TEXTS, &written].concat()), None);
}

/// Every pair of a few characters is a token, so that two cuts give two lists of ids.
fn all_pairs(pre_tokenizer: &Value, normalizer: &Value) -> Value {
    let mut json: Value =
        serde_json::from_slice(include_bytes!("../fixtures/tokenizer/tokenizer.json")).expect("JSON");
    let chars = ["a", "b", "S", "T", "s", "1", "2", "'", "(", "/", "Ġ", "Ċ", "č", "ĉ", "Ã", "©", "Ì", "ģ"];
    let mut merges: Vec<Value> = Vec::new();
    for (a, b) in chars.iter().flat_map(|a| chars.iter().map(move |b| (a, b))) {
        merges.push(json!([a, b]));
    }
    let vocab = json["model"]["vocab"].as_object_mut().expect("a vocabulary");
    vocab.retain(|token, _| token.chars().count() == 1 || token == "<|endoftext|>");
    let mut pairs = merges.clone();
    // Of two pairs, so that a piece may be longer than one.
    pairs.extend(merges.iter().step_by(3).map(|merge| {
        let both = format!("{}{}", merge[0].as_str().expect("a text"), merge[1].as_str().expect("a text"));
        json!([both, both])
    }));
    for pair in &pairs {
        let made = format!("{}{}", pair[0].as_str().expect("a text"), pair[1].as_str().expect("a text"));
        let next = vocab.len() + 50;
        vocab.entry(made).or_insert(json!(next));
    }
    let others: Vec<String> = vocab.keys().filter(|token| *token != "<|endoftext|>").cloned().collect();
    for (at, token) in others.iter().enumerate() {
        vocab[token] = json!(at + 1);
    }
    json["model"]["merges"] = json!(pairs);
    json["pre_tokenizer"] = pre_tokenizer.clone();
    json["normalizer"] = normalizer.clone();
    json
}

/// Cuts by the names that llama.cpp has for them are those of the models' own `tokenizer.json`.
#[test]
fn cuts_by_name() {
    let split = |regex: &str| json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
    let bytes = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex });
    let sequence = |parts: &[Value]| json!({ "type": "Sequence", "pretokenizers": parts });
    let digits = json!({ "type": "Digits", "individual_digits": true });
    let nfc = json!({ "type": "NFC" });
    let llama3 = split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let qwen2 = split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let qwen35 = split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let tekken = split(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let gpt4o = split(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let default = [
        split(r"[\p{P}$+<=>\^~|]+"),
        split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        split(r"\p{N}+"),
        split("[0-9][0-9][0-9]"),
        bytes(false),
    ];
    let none = Value::Null;
    let cases = [
        (vec!["gpt-2", "phi-2", "roberta-bpe"], bytes(true), &none),
        (vec!["olmo", "modern-bert"], bytes(true), &nfc),
        (vec!["smollm", "starcoder", "refact"], sequence(&[digits.clone(), bytes(true)]), &none),
        (vec!["command-r"], sequence(&[digits, bytes(true)]), &nfc),
        (vec!["llama-bpe", "lfm2", "dbrx", "smaug-bpe"], sequence(&[llama3, bytes(false)]), &none),
        (vec!["qwen2"], sequence(&[qwen2.clone(), bytes(false)]), &nfc),
        (vec!["stablelm2", "deepseek-r1-qwen"], sequence(&[qwen2, bytes(false)]), &none),
        (vec!["qwen35"], sequence(&[qwen35, bytes(false)]), &nfc),
        (vec!["tekken"], sequence(&[tekken, bytes(false)]), &none),
        (vec!["gpt-4o"], sequence(&[gpt4o, bytes(false)]), &none),
        (vec!["default"], sequence(&default), &none),
    ];
    let chars = ['a', 'b', 'S', 'T', 's', '1', '2', '\'', '(', '/', ' ', '\n', '\r', '\t', 'é', '\u{301}'];
    let mut state = 7usize;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let texts: Vec<String> = (0..400).map(|_| (0..30).map(|_| chars[draw(chars.len())]).collect()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut judges: Vec<(Tokenizer, bool)> = Vec::new();
    for (names, pre_tokenizer, normalizer) in &cases {
        let mut json = all_pairs(pre_tokenizer, normalizer);
        for name in names {
            let ignores = matches!(*name, "llama-bpe" | "lfm2" | "tekken");
            json["model"]["ignore_merges"] = json!(ignores);
            let want = Tokenizer::from_json(json.to_string().as_bytes()).expect("valid");
            let tables = tables(&json);
            let gguf =
                GgufTokenizer { add_bos: Some(false), add_sep: Some(false), ..tables.byte_level(name) };
            let ours = Tokenizer::from_gguf(&gguf).expect(name);
            assert_eq!(parts_at(&ours, &want, &texts), None, "{name}");
            // No other cut gives the same.
            for (other, ignored) in judges.iter().filter(|(_, ignored)| *ignored == ignores) {
                assert!(parts_at(&ours, other, &texts).is_some(), "{name}, {ignored}");
            }
        }
        judges.push((
            Tokenizer::from_json(json.to_string().as_bytes()).expect("valid"),
            json["model"]["ignore_merges"] == true,
        ));
    }
    let tables = tables(&all_pairs(&bytes(true), &none));
    let ends = |name| GgufTokenizer { bos: Some(0), sep: Some(5), ..tables.byte_level(name) };
    let ids = |tables: &GgufTokenizer| {
        Tokenizer::from_gguf(tables).expect("valid").encode("", true).expect("a text")
    };
    assert_eq!(ids(&ends("roberta-bpe")), [5]);
    assert_eq!(ids(&ends("llama-bpe")), [0]);
    assert_eq!(ids(&GgufTokenizer { add_bos: Some(true), ..ends("jina-v2-code") }), [0, 5]);
    let eos = GgufTokenizer { eos: Some(6), add_eos: Some(true), ..ends("roberta-bpe") };
    assert_eq!(ids(&eos), [6], "one end");
}

/// What a converter writes of WordPiece: a space before what begins a word, and no `##`.
fn phantoms(json: &Value) -> (Vec<String>, Vec<i64>) {
    let vocab = json["model"]["vocab"].as_object().expect("a vocabulary");
    let mut tokens: Vec<(u64, &String)> =
        vocab.iter().map(|(token, id)| (id.as_u64().expect("an id"), token)).collect();
    tokens.sort_unstable();
    let special = |token: &str| {
        json["added_tokens"].as_array().is_some_and(|all| all.iter().any(|added| added["content"] == token))
    };
    let written = tokens.iter().map(|(_, token)| match token.strip_prefix("##") {
        _ if special(token) => (*token).clone(),
        Some(further) => further.to_owned(),
        None => format!("▁{token}"),
    });
    (written.collect(), tokens.iter().map(|(_, token)| if special(token) { 3 } else { 1 }).collect())
}

#[test]
fn word_piece_is_the_folders() {
    let words = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "curious", "##er", "##s", "a", "##a", "é", "e",
        "!", ",", "漢",
    ];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special = |id: usize| {
        json!({ "id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    for (lowercase, strips) in
        [(true, Value::Null), (true, json!(false)), (false, json!(true)), (false, Value::Null)]
    {
        let json = json!({
            "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                            "strip_accents": strips, "lowercase": lowercase },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": { "type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3] },
            "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": vocab },
        });
        let want = Tokenizer::from_json(json.to_string().as_bytes()).expect("valid");
        let (tokens, token_type) = phantoms(&json);
        for token_type in [&token_type[..], &[]] {
            let gguf = GgufTokenizer {
                model: "bert",
                tokens: &tokens,
                token_type,
                bos: Some(2),
                sep: Some(3),
                unknown: Some(1),
                lowercase: (!lowercase).then_some(false),
                strip_accents: strips.as_bool(),
                ..GgufTokenizer::default()
            };
            let ours = Tokenizer::from_gguf(&gguf).expect("valid");
            let texts =
                ["Curiouser and the CURIOUSERS!", "é É e\u{301}, aaa", "漢a[MASK]漢", "the[SEP] curious##er"];
            assert_eq!(parts_at(&ours, &want, &[&texts[..], &TEXTS].concat()), None);
        }
    }
}

/// MiniLM's own, over what people wrote here.
#[test]
fn a_real_word_piece_is_the_folders() {
    let Some(folder) = real::fetched("minilm", "python3 tools/real_model.py") else { return };
    let file = std::fs::read(folder.join("tokenizer.json")).expect("a file");
    let json: Value = serde_json::from_slice(&file).expect("JSON");
    let want = Tokenizer::from_json(&file).expect("valid");
    let (tokens, token_type) = phantoms(&json);
    let gguf =
        GgufTokenizer { model: "bert", tokens: &tokens, token_type: &token_type, ..GgufTokenizer::default() };
    let ours = Tokenizer::from_gguf(&gguf).expect("valid");
    let lines: Vec<&str> = include_str!("../../README.md")
        .lines()
        .chain(include_str!("../fixtures/tokenizer/text.txt").lines())
        .collect();
    assert_eq!(parts_at(&ours, &want, &[&lines[..], &TEXTS].concat()), None);
}
