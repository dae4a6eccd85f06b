//! Ids and texts against the `tokenizers` crate, the judge of what is our own.
//! Not a test of hostile files: `tokenizer_files.rs` has those.

use crate::common::real;
use lorakeet::tokenizer::{StreamDecoder, Tokenizer};
use lorakeet::{ErrorKind, Result};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Tokenizers of the page's own models.
const PAGE_TOKENIZERS: [&str; 2] = ["www/models/demo", "www/models/novels"];

const TEXTS: [&str; 14] = [
    "",
    " ",
    "Once upon a time, there was a little girl.",
    "  two spaces,\ttab\nand a line\r\n\r\n  end  ",
    "naïve café, cafe\u{301}; 漢字かな交じり文; 한국어",
    "family 👨‍👩‍👧‍👦, flag 🇺🇦, skin 👍🏽, zero\u{200d}width",
    "fn main() { println!(\"{}\", 1 << 20); } // 3.14159",
    "a<|endoftext|>b</s>c<s>d<unk>e",
    "don't WE'LL they've 12345678 ---- ______",
    "“Curiouser and curiouser!” cried Alice (she was so much surprised, that for the moment she quite \
     forgot how to speak good English);—‘now I’m opening out like the largest telescope that ever was!’",
    "let x: Vec<_> = (0..=9).map(|i| i * 2).collect();\n\tif (x[3] != 6 && y) { return \"\\n\"; }\n\n\n",
    "1 12 123 1234 12345 1,234,567.89 1e-9 0xff ½ ² ٣٤ Ⅻ ①",
    "\u{a0}\u{3000}\u{2003}x \u{200b}\u{feff}y\r\r\n \n  \n\t\t z\u{85}\u{1680}",
    "नमस्ते विश्व สวัสดี שלום عالَم e\u{301}\u{323}\u{327} ﬁ Å \u{1100}\u{1161}\u{11a8} Ǆ İ ß ΣΣ 👩🏽‍🚀🏳️‍🌈",
];

fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer")
}

/// A tokenizer as we read it and as the stable crate does, with where it came from.
struct Pair {
    path: String,
    ours: Tokenizer,
    theirs: tokenizers_stable::Tokenizer,
}

/// Every tokenizer at hand, read once.
static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![fixture_folder()];
    folders.extend(PAGE_TOKENIZERS.map(|name| root.join(name)));
    if let Some(home) = real::tokenizers() {
        folders.extend(real::TOKENIZERS.map(|name| home.join(name)));
    }
    folders.extend(real::fetched("minilm", "python3 tools/real_model.py"));
    let read = |folder: &PathBuf| {
        let path = folder.join("tokenizer.json").display().to_string();
        let json = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let ours = Tokenizer::from_json(&json).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut theirs = tokenizers_stable::Tokenizer::from_bytes(&json).unwrap();
        theirs.with_padding(None).with_truncation(None).unwrap();
        Pair { path, ours, theirs }
    };
    folders.iter().map(read).collect()
});

fn each_tokenizer(check: impl Fn(&str, &Tokenizer, &tokenizers_stable::Tokenizer)) {
    for Pair { path, ours, theirs } in PAIRS.iter() {
        check(path, ours, theirs);
    }
}

/// The pieces of a stream, joined; each must be whole characters, as a `String` is.
fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special_tokens: bool) -> String {
    let mut stream = StreamDecoder::new(skip_special_tokens);
    let mut text: String = ids.iter().map(|&id| stream.push(tokenizer, id).unwrap()).collect();
    text.push_str(&stream.finish(tokenizer).unwrap());
    text
}

/// A tokenizer of few words, for tests that need a decoder of their choice.
fn of_words(decoder: &Value, words: &[&str]) -> Result<Tokenizer> {
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null,
        "decoder": decoder,
        "model": { "type": "BPE", "vocab": vocab, "merges": [], "ignore_merges": true },
    });
    Tokenizer::from_json(file.to_string().as_bytes())
}

#[test]
fn fixture_cases() {
    let folder = fixture_folder();
    let tokenizer = Tokenizer::from_json(&std::fs::read(folder.join("tokenizer.json")).unwrap()).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 5, "expected more than {} cases", cases.len());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids, "{text:?}");
        // A normaliser may have changed the text, but decoding and encoding again is stable.
        let decoded = tokenizer.decode(&ids, false).unwrap();
        assert_eq!(tokenizer.encode(&decoded, false).unwrap(), ids, "{text:?} came back as {decoded:?}");
    }
}

#[test]
fn encode_and_decode_agree_with_the_crate() {
    each_tokenizer(|path, ours, theirs| {
        for text in TEXTS {
            for special in [false, true] {
                let ids = ours.encode(text, special).unwrap();
                assert_eq!(ids, theirs.encode(text, special).unwrap().get_ids(), "{path}: {text:?}");
                let decoded = theirs.decode(&ids, special).unwrap();
                assert_eq!(ours.decode(&ids, special).unwrap(), decoded, "{path}: {text:?}");
                assert_eq!(streamed(ours, &ids, special), decoded, "{path}: {text:?}");
            }
        }
    });
}

#[test]
fn text_without_special_tokens_comes_back() {
    each_tokenizer(|path, ours, _| {
        // WordPiece keeps neither spaces nor capitals.
        if ours.token_to_id("[CLS]").is_some() {
            return;
        }
        // Where normalizing changes nothing.
        for text in TEXTS.iter().filter(|text| !text.contains(['<', '\u{301}', '\u{2003}'])) {
            let ids = ours.encode(text, false).unwrap();
            assert_eq!(ours.decode(&ids, true).unwrap(), **text, "{path}");
        }
    });
}

/// What decides by bytes which tokens may come sees the text that its reader sees.
#[test]
fn bytes_of_tokens_are_those_of_the_text() {
    each_tokenizer(|path, tokenizer, _| {
        let special = tokenizer.added_tokens().into_iter().find(|added| added.special);
        if let Some(added) = special {
            let bytes = tokenizer.token_bytes(added.id);
            assert_eq!(bytes.split_first(), Some((&0xff, added.content.as_bytes())), "{path}");
        }
        assert!(tokenizer.token_bytes(tokenizer.vocab_size() as u32).is_empty(), "{path}");
        // What WordPiece drops at a word's end is decided with the next.
        if tokenizer.token_to_id("[CLS]").is_some() {
            return;
        }
        let prompt = tokenizer.encode("a", false).unwrap();
        for text in TEXTS {
            let ids = tokenizer.encode_continuation(text).unwrap();
            let mut stream = StreamDecoder::after(tokenizer, &prompt, true).unwrap();
            let mut shown: String = ids.iter().map(|&id| stream.push(tokenizer, id).unwrap()).collect();
            shown.push_str(&stream.finish(tokenizer).unwrap());
            let plain = ids.iter().filter(|&&id| !tokenizer.is_special(id));
            let bytes: Vec<u8> = plain.flat_map(|&id| tokenizer.token_bytes(id)).collect();
            assert_eq!(String::from_utf8_lossy(&bytes), shown, "{path}: {text:?}");
        }
    });
}

#[test]
fn packed_tokens_stand_one_after_another() {
    let decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" },
        { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ]});
    let long = "a".repeat(300);
    let tokenizer = of_words(&decoder, &["▁Hi", "<0xE2>", &long]).unwrap();
    let expected = [&[3, 0][..], b" Hi", &[1, 0, 0xe2], &[44, 1], long.as_bytes(), &[0, 0]].concat();
    assert_eq!(tokenizer.packed_tokens(4), expected);
}

#[test]
fn random_ids_agree_with_the_crate() {
    each_tokenizer(|path, ours, theirs| {
        let vocab_size = ours.vocab_size() as u32;
        // Past the vocabulary too: a model may have more rows than the file has tokens.
        let id = prop_oneof![3 => 0..300.min(vocab_size), 2 => 0..vocab_size + 5];
        let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        runner
            .run(&(proptest::collection::vec(id, 0..60), any::<bool>()), |(ids, skip)| {
                let expected = theirs.decode(&ids, skip).unwrap();
                prop_assert_eq!(&streamed(ours, &ids, skip), &expected, "{}", path);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn vocabulary() {
    each_tokenizer(|path, ours, theirs| {
        let highest = theirs.get_vocab(true).into_values().max().unwrap();
        assert_eq!(ours.vocab_size(), highest as usize + 1, "{path}");
        let token = ours.id_to_token(highest).unwrap();
        assert_eq!(ours.token_to_id(&token), Some(highest), "{path}");
        assert_eq!(ours.id_to_token(highest + 1), None, "{path}");
        assert_eq!(ours.token_to_id("no such token, surely"), None, "{path}");
    });
}

/// A character of several tokens shows when its last byte is there, never in parts.
#[test]
fn a_character_is_never_split() {
    each_tokenizer(|path, ours, _| {
        for text in ["👍🏽!", "漢!", "\u{10ffff}!"] {
            let ids = ours.encode(text, false).unwrap();
            let mut stream = StreamDecoder::new(true);
            for &id in &ids {
                let piece = stream.push(ours, id).unwrap();
                assert!(!piece.contains('\u{fffd}'), "{path}: {text:?} gave {piece:?}");
            }
            assert_eq!(stream.finish(ours).unwrap(), "", "{path}: {text:?} was held back");
        }
    });
}

#[test]
fn an_unfinished_character_shows_at_the_end() {
    let decoder = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false });
    let byte_level = of_words(&decoder, &["?", "ð", "Ł", "ĳ", "į", "a"]).unwrap();
    let thumb = [1, 2, 3, 4]; // f0 9f 91 8d
    let mut stream = StreamDecoder::new(false);
    for id in &thumb[..3] {
        assert_eq!(stream.push(&byte_level, *id).unwrap(), "");
    }
    assert_eq!(stream.finish(&byte_level).unwrap(), "\u{fffd}");
    assert_eq!(stream.push(&byte_level, 5).unwrap(), "a");

    assert_eq!(streamed(&byte_level, &thumb, false), "👍");
    assert_eq!(streamed(&byte_level, &[1, 5], false), "\u{fffd}a");
    assert_eq!(streamed(&byte_level, &[4, 4], false), "\u{fffd}\u{fffd}");
}

#[test]
fn a_run_of_fallback_bytes_is_one_decision() {
    let decoder = json!({ "type": "ByteFallback" });
    let tokenizer = of_words(&decoder, &["?", "<0xE5>", "<0x8F>", "<0xAB>", "a"]).unwrap();
    let mut stream = StreamDecoder::new(false);
    for id in [1, 2, 3] {
        assert_eq!(stream.push(&tokenizer, id).unwrap(), "");
    }
    assert_eq!(stream.push(&tokenizer, 4).unwrap(), "叫a");
    // As the reference has it: one bad byte spoils the run.
    assert_eq!(streamed(&tokenizer, &[1, 2, 3, 1, 4], false), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}a");
    assert_eq!(streamed(&tokenizer, &[1], false), "\u{fffd}");
}

/// SentencePiece drops the first space of a text; of an answer, it must stay.
#[test]
fn after_a_prompt_the_leading_space_stays() {
    let decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" },
        { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ]});
    let tokenizer = of_words(&decoder, &["?", "▁Hello", "▁world", "▁", "<0x21>"]).unwrap();
    assert_eq!(tokenizer.decode(&[1, 2], false).unwrap(), "Hello world");
    assert_eq!(tokenizer.decode(&[3, 1], false).unwrap(), " Hello");

    let mut stream = StreamDecoder::after(&tokenizer, &[1], false).unwrap();
    assert_eq!(stream.push(&tokenizer, 2).unwrap(), " world");
    // What the prompt left open belongs to the prompt.
    let mut stream = StreamDecoder::after(&tokenizer, &[1, 4], false).unwrap();
    assert_eq!(stream.push(&tokenizer, 2).unwrap(), " world");
    // An empty prompt is no prompt.
    let mut stream = StreamDecoder::after(&tokenizer, &[], false).unwrap();
    assert_eq!(stream.push(&tokenizer, 2).unwrap(), "world");
}

#[test]
fn decoders_of_other_families() {
    let words = ["?", "▁a", "▁b", "##c"];
    let text = |decoder: Value| of_words(&decoder, &words).unwrap().decode(&[1, 2, 3], false).unwrap();
    assert_eq!(text(Value::Null), "▁a ▁b ##c");
    assert_eq!(text(json!({ "type": "Fuse" })), "▁a▁b##c");
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always" });
    assert_eq!(text(metaspace), "a b##c");
    assert_eq!(text(json!({ "type": "WordPiece", "prefix": "##", "cleanup": false })), "▁a ▁bc");
    let strip = json!({ "type": "Strip", "content": "▁", "start": 1, "stop": 0 });
    assert_eq!(text(strip), "ab##c");
}

#[test]
fn a_decoder_that_needs_the_whole_text_is_refused() {
    let strip = json!({ "type": "Sequence", "decoders": [
        { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 0, "stop": 1 },
    ]});
    let error = of_words(&strip, &["?"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "tokenizer.json: decoder `Strip` after the tokens are fused: not supported"
    );

    let ctc = json!({ "type": "CTC", "pad_token": "?", "word_delimiter_token": "|", "cleanup": true });
    let error = of_words(&ctc, &["?"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "tokenizer.json: decoder `CTC`: not supported");
}

#[test]
fn a_word_without_token_is_an_error() {
    let file = json!({ "added_tokens": [], "model": { "type": "Unigram", "vocab": [["a", 0.0]] } });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    let error = tokenizer.encode("ab", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert_eq!(error.to_string(), "tokenizer: Encountered an unknown token but `unk_id` is missing");
}

/// The file's truncation is for training; here it would cut a prompt without a word.
#[test]
fn truncation_and_padding_are_ignored() {
    let file = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "WhitespaceSplit" },
        "truncation": { "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null,
                     "pad_id": 0, "pad_type_id": 0, "pad_token": "a" },
        "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] },
    });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("a a a", false).unwrap(), [0, 0, 0]);
}

/// Every normalizer and pre-tokenizer that is read, over a small vocabulary without a byte
/// fallback: what it does not know shows as `<unk>`.
#[test]
fn components_agree_with_the_crate() {
    let words = ["<unk>", "<s>", "▁", "a", "e", "l", "o", "é", "漢", "1", "2", "▁a", "ll", "'"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
    let mut normalizers: Vec<Value> =
        ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"].map(|t| json!({ "type": t })).into();
    normalizers.extend([
        Value::Null,
        json!({ "type": "Strip", "strip_left": true, "strip_right": true }),
        json!({ "type": "Prepend", "prepend": "▁" }),
        json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" }),
    ]);
    let mut pre_tokenizers: Vec<Value> =
        ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"].map(|t| json!({ "type": t })).into();
    pre_tokenizers.extend([
        Value::Null,
        json!({ "type": "Digits", "individual_digits": true }),
        json!({ "type": "Digits", "individual_digits": false }),
        json!({ "type": "CharDelimiterSplit", "delimiter": "l" }),
        json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true }),
        json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false }),
    ]);
    for behavior in behaviors {
        pre_tokenizers.push(json!({ "type": "Punctuation", "behavior": behavior }));
        for invert in [false, true] {
            let pattern = json!({ "String": "ll" });
            let split =
                json!({ "type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert });
            pre_tokenizers
                .push(json!({ "type": "Sequence", "pretokenizers": [split, { "type": "WhitespaceSplit" }] }));
        }
    }
    for (normalizer, pre_tokenizer) in
        normalizers.iter().flat_map(|normalizer| pre_tokenizers.iter().map(move |cut| (normalizer, cut)))
    {
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null,
            "added_tokens": [{ "id": 1, "content": "<s>", "single_word": false, "lstrip": true,
                               "rstrip": true, "normalized": false, "special": true }],
            "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": vocab,
                       "merges": [["▁", "a"], ["l", "l"]] },
        });
        let json = file.to_string();
        let ours = Tokenizer::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
        let theirs = tokenizers_stable::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        for text in TEXTS {
            let ids = ours.encode(text, false).unwrap();
            assert_eq!(
                ids,
                theirs.encode(text, false).unwrap().get_ids(),
                "{normalizer}, {pre_tokenizer}: {text:?}"
            );
            assert_eq!(
                ours.decode(&ids, true).unwrap(),
                theirs.decode(&ids, true).unwrap(),
                "{normalizer}: {text:?}"
            );
        }
    }
}

/// A prompt and its completion are one text: no stray space, and no token that the prompt alone does not have.
#[test]
fn a_completion_goes_on_its_prompt() {
    let words = ["<unk>", "▁", "m", "i", "d", "l", "e", "mi", "dl", "▁mi", "dle", "<s>"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let file = json!({
        "added_tokens": [{ "id": 11, "content": "<s>", "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false, "special": true }],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ]},
        "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": vocab,
                   "merges": [["m", "i"], ["d", "l"], ["▁", "mi"], ["dl", "e"]] },
    });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode_example("mid", "dle").unwrap(), (vec![9, 4, 10], 2));
    assert_eq!(tokenizer.encode_example("mid", "le").unwrap(), (vec![9, 4, 5, 6], 2), "not `dle`");
    assert_eq!(tokenizer.encode_example("mi", " mi").unwrap(), (vec![9, 9], 1));
    assert_eq!(tokenizer.encode_continuation("dle").unwrap(), [10]);
    assert_eq!(tokenizer.encode_continuation(" mi").unwrap(), [9]);
    let added = tokenizer.added_tokens();
    assert_eq!(added.len(), 1);
    assert_eq!((added[0].id, added[0].content.as_str(), added[0].special), (11, "<s>", true));
}

/// A generator of numbers (xorshift), so that the texts are the same every time.
fn next(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// Lines of many scripts, spaces, digits, marks and added tokens.
fn lines(count: usize, added: &[&str]) -> Vec<String> {
    let scripts: [(char, char); 14] = [
        (' ', '~'),
        ('a', 'z'),
        ('\t', '\r'),
        ('\u{c0}', '\u{24f}'),
        ('\u{300}', '\u{36f}'),
        ('\u{400}', '\u{4ff}'),
        ('\u{620}', '\u{669}'),
        ('\u{900}', '\u{97f}'),
        ('\u{e01}', '\u{e5b}'),
        ('\u{2000}', '\u{2064}'),
        ('\u{3040}', '\u{30ff}'),
        ('\u{4e00}', '\u{5fff}'),
        ('\u{ac00}', '\u{ad00}'),
        ('\u{1f300}', '\u{1f64f}'),
    ];
    let mut state = 0x1234_5678_9abc_def1;
    let line = |_| {
        let mut line = String::new();
        for _ in 0..1 + next(&mut state, 12) {
            let (from, to) = scripts[next(&mut state, scripts.len())];
            for _ in 0..1 + next(&mut state, 8) {
                line.extend(char::from_u32(
                    from as u32 + next(&mut state, to as usize - from as usize) as u32,
                ));
            }
            match next(&mut state, 8) {
                0 => line.push_str(added[next(&mut state, added.len())]),
                1 => line.push_str("    "),
                2 => line.push_str("'ll don'T 1234567"),
                3 => {}
                _ => line.push(' '),
            }
        }
        line
    };
    (0..count).map(line).collect()
}

#[test]
fn lines_of_all_kinds_agree_with_the_crate() {
    for line in lines(600, &["<|endoftext|>", " <s> ", "<|im_end|>\n", "</s>", "<|eot_id|>"]) {
        each_tokenizer(|path, ours, theirs| {
            let want = theirs.encode_fast(line.as_str(), false).unwrap();
            assert_eq!(ours.encode(&line, false).unwrap(), want.get_ids(), "{path}: {line:?}");
        });
    }
}

/// Ten thousand lines, half of them what people wrote in this repository, against every real tokenizer.
#[test]
fn ten_thousand_lines_agree_with_the_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("tests/fixtures/tokenizer/text.txt")];
    let mut folders = vec![root.join("src"), root.join("www")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|end| ["rs", "md", "ts"].iter().any(|e| end == *e)) => {
                    files.push(path);
                }
                _ => {}
            }
        }
    }
    files.sort();
    let written = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
    let mut all: Vec<String> = written.lines().filter(|line| line.len() > 3).map(str::to_owned).collect();
    let stride = all.len() / 5000;
    assert!(stride > 0, "{} lines", all.len());
    all = all.into_iter().step_by(stride).take(5000).collect();
    all.extend(lines(5000, &["<|endoftext|>", "[SEP]", " <s> ", "<end_of_turn>\n", "</s>", "[MASK] "]));
    assert_eq!(all.len(), 10_000);
    each_tokenizer(|path, ours, theirs| {
        for line in &all {
            let want = theirs.encode_fast(line.as_str(), false).unwrap();
            assert_eq!(ours.encode(line, false).unwrap(), want.get_ids(), "{path}: {line:?}");
        }
    });
}

/// BERT's normalizer with every flag, WordPiece, and what two post-processors put around a text.
#[test]
fn word_piece_agrees_with_the_crate() {
    let words = [
        "[UNK]", "[CLS]", "[SEP]", "a", "b", "##b", "##a", "##ab", "ab", "the", "##s", "é", "e", "É", "漢",
        "字", "!", ".", "'", "1", "12", "##12", "##2", "##", "ß", "i", "ll", "don", "t", "##on", "##é", "क",
    ];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let cls_and_sep = json!({ "sep": ["[SEP]", 2], "cls": ["[CLS]", 1] });
    let posts = ["BertProcessing", "RobertaProcessing"].map(|kind| {
        let mut post = cls_and_sep.clone();
        post["type"] = json!(kind);
        if kind == "RobertaProcessing" {
            (post["trim_offsets"], post["add_prefix_space"]) = (json!(true), json!(false));
        }
        post
    });
    let mut texts =
        lines(300, &["[SEP]", " [CLS]", "the's", "ababab", "a\u{200d}b", "\u{e000}a", "\u{fffd}a"]);
    texts.extend(TEXTS.map(str::to_owned));
    texts.extend(["ab".repeat(5), "aba".to_owned(), "ab".repeat(6), "##ab ##".to_owned(), String::new()]);
    for flags in 0..24 {
        let flag = |bit: u32| flags >> bit & 1 == 1;
        let accents = [Value::Null, json!(true), json!(false)][flags as usize % 3].clone();
        let mut file = json!({
            "version": "1.0", "truncation": null, "padding": null, "post_processor": posts[usize::from(flag(0))],
            "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": flag(1) },
            "normalizer": { "type": "BertNormalizer", "clean_text": flag(0), "handle_chinese_chars": flag(1),
                            "strip_accents": accents, "lowercase": flag(2) },
            "pre_tokenizer": { "type": if flag(3) { "WhitespaceSplit" } else { "BertPreTokenizer" } },
            "added_tokens": [{ "id": 2, "content": "[SEP]", "single_word": false, "lstrip": false,
                               "rstrip": false, "normalized": false, "special": true }],
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 11, "vocab": vocab },
        });
        let (ours, theirs) = both(&file);
        for text in &texts {
            let ids = ours.encode(text, true).unwrap();
            assert_eq!(ids, theirs.encode(text.as_str(), true).unwrap().get_ids(), "{flags}: {text:?}");
            assert_eq!(ours.decode(&ids, true).unwrap(), theirs.decode(&ids, true).unwrap(), "{text:?}");
        }
        // Old files name no kind.
        file["model"].as_object_mut().unwrap().remove("type");
        let old = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
        assert_eq!(old.encode("the abab", true).unwrap(), ours.encode("the abab", true).unwrap());
    }
    let file = json!({ "added_tokens": [], "model": { "type": "WordPiece", "unk_token": "[UNK]",
                       "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": { "a": 0 } } });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    let error = tokenizer.encode("ab", false).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Format, "tokenizer: the unknown token is not in the vocabulary")
    );
}

#[test]
fn a_post_processor_names_ids_of_the_vocabulary() {
    let file = json!({
        "added_tokens": [], "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] },
        "post_processor": { "type": "BertProcessing", "sep": ["a", 0], "cls": ["b", 1] },
    });
    let error = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert_eq!(error.to_string(), "tokenizer.json: post_processor: `cls` has id 1, expected below 1");
}

/// A file of this model and these parts, read by both.
fn both(file: &Value) -> (Tokenizer, tokenizers_stable::Tokenizer) {
    let json = file.to_string();
    let ours = Tokenizer::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
    (ours, tokenizers_stable::Tokenizer::from_bytes(json.as_bytes()).unwrap())
}

/// The fixture's vocabulary without eight bytes: they are dropped, or become the unknown token.
#[test]
fn a_byte_level_vocabulary_may_lack_bytes() {
    let file = std::fs::read(fixture_folder().join("tokenizer.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    let vocab = file["model"]["vocab"].as_object_mut().unwrap();
    let missing = ["Ħ", "Ą", "ħ", "ē", "ĕ", "ñ", "ò", "õ"];
    for (at, token) in missing.into_iter().enumerate() {
        let id = vocab.remove(token).unwrap();
        vocab.insert(format!("other {at}"), id);
    }
    let merges = file["model"]["merges"].as_array_mut().unwrap();
    merges.retain(|merge| !missing.iter().any(|token| merge.to_string().contains(token)));
    for unknown in [Value::Null, json!("<|endoftext|>")] {
        for fuse in [false, true] {
            file["model"]["unk_token"] = unknown.clone();
            file["model"]["fuse_unk"] = json!(fuse);
            let (ours, theirs) = both(&file);
            for text in ["a\u{4}b\u{13}\u{14}\u{16}c", "\u{60000}\u{90000}", "", "\u{4}", "plain"] {
                let ids = ours.encode(text, false).unwrap();
                assert_eq!(ids, theirs.encode(text, false).unwrap().get_ids(), "{text:?}");
                assert_eq!(ours.decode(&ids, false).unwrap(), theirs.decode(&ids, false).unwrap());
            }
        }
    }
}

/// Added tokens of every flag, beside every way to write the first space.
#[test]
fn added_tokens_of_every_flag_agree_with_the_crate() {
    let words = ["<unk>", "▁", "a", "b", "c", "d", "Ġ", "▁a", "ab"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let space = |scheme: &str| json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme });
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true });
    let strip = json!({ "type": "Strip", "strip_left": true, "strip_right": false });
    let removed = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "" });
    let accents =
        json!({ "type": "Sequence", "normalizers": [{ "type": "NFD" }, { "type": "StripAccents" }] });
    let regex = json!({ "type": "Replace", "pattern": { "Regex": "[bB]+|\\s{2,}" }, "content": "c" });
    let prepend = json!({ "type": "Prepend", "prepend": "▁" });
    let normalizers = [Value::Null, json!({ "type": "Lowercase" }), strip, removed, accents, regex, prepend];
    let texts = lines(30, &["tok", " TOK ", "tok!", "töken", "a tok b", "tok tok", "▁tok"]);
    for flags in 0..16 {
        let flag = |bit: u32| flags >> bit & 1 == 1;
        for (normalizer, cut) in normalizers.iter().flat_map(|normalizer| {
            let cuts = [space("always"), space("first"), space("never"), byte_level.clone()];
            cuts.map(|cut| (normalizer, cut))
        }) {
            let (ours, theirs) = both(&json!({
                "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "decoder": null,
                "normalizer": normalizer, "pre_tokenizer": cut,
                "added_tokens": [{ "id": 9, "content": "tok", "single_word": flag(0), "lstrip": flag(1),
                                   "rstrip": flag(2), "normalized": flag(3), "special": false }],
                "model": { "type": "BPE", "unk_token": "<unk>", "vocab": vocab,
                           "merges": [["▁", "a"], ["a", "b"]] },
            }));
            for text in
                texts.iter().map(String::as_str).chain(["tok a", "  a tok b", "a tok  b", "xtok tokx"])
            {
                let want = theirs.encode_fast(text, false).unwrap();
                assert_eq!(
                    ours.encode(text, false).unwrap(),
                    want.get_ids(),
                    "{flags}, {normalizer}, {cut}: {text:?}"
                );
            }
        }
    }
}

#[test]
fn unigram_agrees_with_the_crate() {
    let mut vocab = vec![json!(["<unk>", 0.0]), json!(["<0x61>", 0.0])];
    let words =
        ["▁", "a", "b", "ab", "abc", "bc", "c", "▁a", "漢", "e", "an", "in", "the", "▁the", "on", "o"];
    vocab.extend(words.iter().enumerate().map(|(at, word)| json!([word, -2.0 - at as f64 / 3.0])));
    let first = vocab.len();
    vocab.extend((0..=255).filter(|&byte| byte != 0x61).map(|byte| json!([format!("<0x{byte:02X}>"), -9.0])));
    for vocab in [&vocab[..first], &vocab[..]] {
        for byte_fallback in [false, true] {
            let (ours, theirs) = both(&json!({
                "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "decoder": null,
                "normalizer": null, "added_tokens": [],
                "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always" },
                "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": byte_fallback, "vocab": vocab },
            }));
            for text in lines(60, &["abc", "the"]).iter().map(String::as_str).chain(TEXTS) {
                let ids = ours.encode(text, false).unwrap();
                assert_eq!(ids, theirs.encode(text, false).unwrap().get_ids(), "{text:?}");
            }
        }
    }
}

/// The cuts that models are known by.
#[test]
fn patterns_agree_with_the_crate() {
    let patterns = [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        r"\w+|(?:ab){1,2}|.?\d",
        "[一-龥\u{3040}-ゟ゠-ヿ]+",
    ];
    for regex in patterns {
        let split = json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        let mut file: Value =
            serde_json::from_slice(&std::fs::read(fixture_folder().join("tokenizer.json")).unwrap()).unwrap();
        file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [split, byte_level] });
        // Where a text is cut shows in what is merged: here, any two bytes in a row.
        let bytes: Vec<String> = file["model"]["vocab"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| k.chars().count() == 1)
            .cloned()
            .collect();
        let vocab: serde_json::Map<String, Value> =
            bytes.iter().cloned().zip((0u32..).map(|id| json!(id))).collect();
        file["model"]["vocab"] = Value::Object(vocab);
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let mut merges = Vec::new();
        for a in &bytes {
            for b in &bytes {
                let id = vocab.len();
                vocab.insert(format!("{a}{b}"), json!(id));
                merges.push(json!([a, b]));
            }
        }
        file["model"]["merges"] = json!(merges);
        file["added_tokens"] = json!([]);
        let (ours, theirs) = both(&file);
        for text in lines(150, &["\n\n", "/"]).iter().map(String::as_str).chain(TEXTS) {
            let want = theirs.encode_fast(text, false).unwrap();
            assert_eq!(ours.encode(text, false).unwrap(), want.get_ids(), "{regex}: {text:?}");
        }
    }
}

/// A megabyte without a space, in seconds.
#[test]
fn a_long_word_takes_no_time() {
    let (a, spaces) = ("a".repeat(1 << 20), " ".repeat(1 << 20));
    let start = std::time::Instant::now();
    let file = std::fs::read(fixture_folder().join("tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_json(&file).unwrap();
    assert!(!tokenizer.encode(&a, false).unwrap().is_empty());
    assert!(!tokenizer.encode(&spaces, false).unwrap().is_empty());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// Cuts at a pattern; `a` and `b` are all the vocabulary.
fn cut_at(pattern: &Value) -> Result<Tokenizer> {
    let split = json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false });
    let model = json!({ "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] });
    let file = json!({ "added_tokens": [], "pre_tokenizer": split, "model": model });
    Tokenizer::from_json(file.to_string().as_bytes())
}

/// Patterns that look at the whole rest of the text from each of its places.
#[test]
fn a_pattern_that_looks_far_takes_no_time() {
    let text = "ab".repeat(1 << 15) + &"a".repeat(1 << 19);
    let start = std::time::Instant::now();
    for regex in ["a++b", "(?:ab)++c", "(?=a+)a", "(?=(?:ab)++)a", "a+b", ".++b"] {
        let ids = cut_at(&json!({ "Regex": regex })).unwrap().encode(&text, false).unwrap();
        assert_eq!(ids.len(), text.len(), "{regex}");
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// What a pattern asks of the stack is bounded, however long it is and the text.
#[test]
fn a_long_pattern_takes_no_stack() {
    let (long, text) = ("ab".repeat(30_000), "ab".repeat(40_000));
    let ids = cut_at(&json!({ "String": long })).unwrap().encode(&text, false).unwrap();
    assert_eq!(ids.len(), text.len());
    for regex in [&long, "(?:(?:ab){0,1000}){0,1000}a", "(?:a?){999}(?:b?){999}a", "a{2,900}?a{2,900}?"] {
        let error = cut_at(&json!({ "Regex": regex })).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let words = format!("tokenizer.json: pre_tokenizer `Split` by regex `{regex}`: not supported");
        assert_eq!(error.to_string(), words);
    }
    let deepest = cut_at(&json!({ "Regex": "(?:ab?){1,200}" })).unwrap();
    assert_eq!(deepest.encode(&text, false).unwrap().len(), text.len());
}

/// SentencePiece's words are merged one at a time, but where a token goes on over a space.
#[test]
fn words_with_spaces_in_them_agree_with_the_crate() {
    let merges = [["▁", "▁"], ["▁▁", "▁▁"], ["▁", "a"], ["▁a", "b"], ["b", "a"], ["a", "▁"], ["a▁", "b"]];
    for (last, space) in (3..=merges.len()).flat_map(|last| [(last, "▁"), (last, "_")]) {
        let mut vocab = serde_json::Map::new();
        let mut add = |token: &str| {
            let id = vocab.len();
            vocab.entry(token).or_insert(json!(id));
        };
        ["<unk>", "▁", "a", "b"].into_iter().for_each(&mut add);
        merges[..last].iter().for_each(|pair| add(&pair.concat()));
        let replaced = json!({ "type": "Replace", "pattern": { "String": " " }, "content": space });
        for (fuse, ignore) in [(false, false), (true, false), (true, true)] {
            let (ours, theirs) = both(&json!({
                "version": "1.0", "truncation": null, "padding": null, "pre_tokenizer": null,
                "post_processor": null, "decoder": null, "added_tokens": [], "normalizer": replaced,
                "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": fuse, "ignore_merges": ignore,
                           "vocab": vocab, "merges": merges[..last] },
            }));
            let mut state = 0x1234_5678_9abc_def1;
            for _ in 0..200 {
                let len = next(&mut state, 80);
                let text: String = (0..len).map(|_| ['a', 'b', ' ', '▁', 'x'][next(&mut state, 5)]).collect();
                let want = theirs.encode_fast(text.as_str(), false).unwrap();
                assert_eq!(ours.encode(&text, false).unwrap(), want.get_ids(), "{last} {space}: {text:?}");
            }
        }
    }
}

/// What `tokenizers` itself reads, and then finds between all characters, or writes characters twice.
#[test]
fn parts_that_mean_nothing_are_refused() {
    let empty = json!({ "type": "Prepend", "prepend": "" });
    let all = json!({ "type": "Replace", "pattern": { "Regex": "[a-z]+" }, "content": "" });
    for (normalizer, words) in [
        (empty, "normalizer `Prepend` of an empty string"),
        (all, "added token `tok` that the normalizer makes empty"),
    ] {
        let file = json!({
            "added_tokens": [{ "id": 1, "content": "tok", "single_word": false, "lstrip": false,
                               "rstrip": false, "normalized": true, "special": false }],
            "normalizer": normalizer, "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] },
        });
        let error = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.to_string(), format!("tokenizer.json: {words}: not supported"));
    }
}
