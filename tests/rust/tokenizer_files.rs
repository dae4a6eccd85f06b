//! Tokenizer files that lie: each lie with the words of its error, and no file at all makes a panic.
//! Not a test of what an honest one does; tokenizer.rs has that.

use crate::common::files::assert_format_error;
use lorakeet::tokenizer::Tokenizer;
use lorakeet::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A byte-pair tokenizer in which everything is right.
fn honest_tokenizer() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{ "id": 3, "content": "<s>", "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false, "special": true }],
        "normalizer": null, "pre_tokenizer": null,
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [3], "tokens": ["<s>"] } } },
        "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                   "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": [["a", "b"]] },
    })
}

fn parse_tokenizer(json: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json(json.to_string().as_bytes())
}

#[test]
fn honest_tokenizer_is_accepted() {
    let tokenizer = parse_tokenizer(&honest_tokenizer()).unwrap();
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [3, 2]);
    assert_eq!(tokenizer.vocab_size(), 4);
    assert!(tokenizer.is_special(3) && !tokenizer.is_special(2));
}

/// One lie told in an honest tokenizer, and how it is refused.
#[track_caller]
fn assert_lie(pointer: &str, lie: Value, kind: ErrorKind, message: &str) {
    let mut json = honest_tokenizer();
    *json.pointer_mut(pointer).unwrap() = lie;
    let error = parse_tokenizer(&json).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

#[test]
fn tokenizer_is_not_json() {
    assert_format_error(
        Tokenizer::from_json(b""),
        "tokenizer.json: EOF while parsing a value at line 1 column 0",
    );
    assert_format_error(
        Tokenizer::from_json(b"[]"),
        "tokenizer.json: invalid type: sequence, expected an object at line 1 column 2",
    );
    assert_format_error(
        Tokenizer::from_json(br#"{"model":[]}"#),
        "tokenizer.json: invalid type: sequence, expected an object at line 1 column 11",
    );
    let cut_in_decoder = honest_tokenizer().to_string();
    let cut = &cut_in_decoder[..cut_in_decoder.find("Fuse").unwrap()];
    let error = Tokenizer::from_json(cut.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
}

#[test]
fn tokenizer_lies() {
    use ErrorKind::{Format, Unsupported};
    assert_lie(
        "/model/merges",
        json!([["ab", "ab"]]),
        Format,
        "tokenizer.json: merge of `ab` and `ab`: no token `abab`",
    );
    assert_lie("/model/merges", json!(["a c"]), Format, "tokenizer.json: merge of `a` and `c`: no token `c`");
    assert_lie(
        "/model/continuing_subword_prefix",
        json!("##"),
        Unsupported,
        "tokenizer.json: model with `##` at the parts of a word: not supported",
    );
    assert_lie(
        "/post_processor/single/0/SpecialToken/id",
        json!("<t>"),
        Format,
        "tokenizer.json: template: special token `<t>` is not defined",
    );
    assert_lie(
        "/post_processor/single/1/Sequence/id",
        json!("B"),
        Format,
        "tokenizer.json: template for one text: expected `A`, once",
    );
    assert_lie(
        "/post_processor/special_tokens/<s>/ids/0",
        json!(4),
        Format,
        "tokenizer.json: template: special token `<s>`: id 4, expected below 4",
    );
    assert_lie(
        "/added_tokens/0/id",
        json!(7),
        Format,
        "tokenizer.json: added token `<s>`: id 7, expected 3, the next after the vocabulary",
    );
    assert_lie(
        "/model/vocab/a",
        json!(4_000_000_000u32),
        Format,
        "tokenizer.json: id 4000000000, expected below 16777216",
    );
    assert_lie("/decoder", json!({}), Format, "tokenizer.json: decoder: no `type`");
    assert_lie(
        "/pre_tokenizer",
        json!({ "type": "Sequence", "pretokenizers": [{ "type": "FixedLength", "length": 0 }] }),
        Unsupported,
        "tokenizer.json: pre_tokenizer `FixedLength`: not supported",
    );
    assert_lie(
        "/normalizer",
        json!({ "type": "Precompiled", "precompiled_charsmap": "not base64" }),
        Unsupported,
        "tokenizer.json: normalizer `Precompiled`: not supported",
    );
    let replace = |pattern: Value| {
        let replace = json!({ "type": "Replace", "pattern": pattern, "content": "x" });
        json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }, replace] })
    };
    assert_lie(
        "/normalizer",
        replace(json!({ "String": "" })),
        Format,
        "tokenizer.json: normalizer `Replace`: an empty string to replace",
    );
    assert_lie(
        "/normalizer",
        replace(json!({ "Regex": "a*" })),
        Unsupported,
        "tokenizer.json: normalizer `Replace` of regex `a*`: not supported",
    );
    assert_lie(
        "/pre_tokenizer",
        json!({ "type": "Split", "pattern": { "Regex": "(\\w)\\1" }, "behavior": "Isolated", "invert": false }),
        Unsupported,
        r"tokenizer.json: pre_tokenizer `Split` by regex `(\w)\1`: not supported",
    );
    assert_lie("/model/vocab", json!({}), Format, "tokenizer.json: the vocabulary is empty");
    assert_lie("/model/vocab/b", json!(0), Format, "tokenizer.json: id 0 belongs to two tokens");
    assert_lie(
        "/model/vocab",
        json!({ "a".repeat(70_000): 0 }),
        Format,
        "tokenizer.json: a token of 70000 bytes, expected at most 65535",
    );
    assert_lie(
        "/model/type",
        json!("WordLevel"),
        Unsupported,
        "tokenizer.json: model `WordLevel`: not supported",
    );
    assert_lie(
        "/model/dropout",
        json!(0.1),
        Unsupported,
        "tokenizer.json: model with dropout: not supported",
    );
}

fn read_tokenizer(bytes: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_json(bytes) {
        for special in [false, true] {
            if let Ok(ids) = tokenizer.encode("ab <s> ba\u{301} 漢!", special) {
                let _ = tokenizer.decode(&ids, special);
            }
            let _ = tokenizer.decode(&[0, 1, 2, 3, 4, u32::MAX], special);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_tokenizer(&bytes);
    }

    #[test]
    fn mutated_tokenizers_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = honest_tokenizer().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_tokenizer(&bytes);
    }
}
