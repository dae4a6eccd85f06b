//! Weight files and their indexes that lie: one test per way of lying, each with the words of its error.
//! Not a test of what honest files mean; tensors.rs and the model tests have those.

use crate::common::files::{assert_format_error, file, written};
use lorakeet::engine::AdapterConfig;
use lorakeet::format::gguf;
use lorakeet::format::safetensors::{Header, MAX_HEADER_BYTES};
use lorakeet::format::{ShardIndex, SourceDtype, TensorData, explained, refuse_foreign};
use lorakeet::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::json;

/// Asserts how a file of this header and so much data is refused. The `safetensors` crate
/// must refuse it too, so that no test asks for more than the format does.
#[track_caller]
fn assert_refused(header: &str, data_bytes: usize, message: &str) {
    let file = file(header, data_bytes);
    assert_format_error(Header::from_file_bytes(&file), message);
    assert!(safetensors::SafeTensors::deserialize(&file).is_err(), "the format allows this: {header}");
}

// Safetensors: the header's length.

#[test]
fn shorter_than_its_prefix() {
    assert_format_error(Header::from_file_bytes(b""), "an empty file");
    assert_format_error(Header::from_file_bytes(&[2; 7]), "safetensors file: 7 bytes, expected at least 8");
}

#[test]
fn header_longer_than_accepted() {
    let words = "safetensors header: 18446744073709551615 bytes, expected at most 16777216";
    assert_format_error(Header::length(&[0xff; 8], u64::MAX), words);
    let longest = (MAX_HEADER_BYTES as u64).to_le_bytes();
    assert_eq!(Header::length(&longest, u64::MAX).unwrap(), MAX_HEADER_BYTES);
    let words = "safetensors header: 16777217 bytes, expected at most 16777216";
    assert_format_error(Header::length(&(MAX_HEADER_BYTES as u64 + 1).to_le_bytes(), u64::MAX), words);
}

#[test]
fn truncated_header() {
    let mut file = file("{}", 0);
    file.pop();
    assert_format_error(
        Header::from_file_bytes(&file),
        "the file ends after 9 of 10 bytes: a download that was cut short",
    );
}

#[test]
fn header_longer_than_its_file() {
    assert_format_error(Header::parse(b"{}", 9), "safetensors file: 9 bytes, expected at least 10");
}

/// What comes in place of weights, a file's first bytes and what the error says of it.
const IN_PLACE_OF_WEIGHTS: [(&[u8], &str); 14] = [
    (b"", "an empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
    (b"<!DOCTYPE html><html></html>", "a web page"),
    (b"\xef\xbb\xbf \n<html lang=\"en\">", "a web page"),
    (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a web page"),
    (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x02", "a gzip archive"),
    (b"PK\x03\x04\x14\0\x08\x08\x08\0", "a zip archive or a pickled PyTorch file"),
    (b"\x80\x02}q\0(X\x05\0\0\0", "a pickled PyTorch file"),
    (b"\x80\x04\x95\0\0\0\0\0\0\0\0", "a pickled PyTorch file"),
    (b"{\"error\":\"Repository not found\"}", "a text, not weights; it begins with `{\\\"error\\\":\\\"Repo"),
    (b"Entry not found", "a text, not weights; it begins with `Entry not found`"),
    (b"Invalid username or password.", "a text, not weights"),
    (b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0", "a GGUF file, not safetensors"),
    (b"\x08\0\0", "safetensors file: 3 bytes, expected at least 8"),
];

#[test]
fn what_is_no_weight_file_is_told_by_name() {
    for (bytes, words) in IN_PLACE_OF_WEIGHTS {
        let error = Header::from_file_bytes(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.to_string().starts_with(words), "{error}, expected {words}");
        // Those that say the same of a GGUF file.
        if words.starts_with("a ") && !words.contains("GGUF") && !words.contains("a text") {
            assert_eq!(gguf::Header::from_file_bytes(bytes).unwrap_err(), error);
            assert_eq!(gguf::Header::parse(bytes, bytes.len() as u64).unwrap_err(), error);
        }
    }
    // Headers of such lengths are headers all the same.
    for length in [0x8b1fu64, 0x0280, 0x04_8b1f] {
        let header = format!("{{{}}}", " ".repeat(length as usize - 2));
        Header::from_file_bytes(&file(&header, 0)).unwrap();
    }
    let words = "a safetensors file, not GGUF: it is loaded with the folder it is in";
    assert_format_error(gguf::Header::from_file_bytes(&file("{}", 0)), words);
}

#[test]
fn what_is_no_json_file_is_told_by_name() {
    let says = |name: &str, file: &[u8]| {
        let own = Error::format("the reader's own words");
        explained(name, file, own.clone()).to_string()
    };
    for (bytes, words) in &IN_PLACE_OF_WEIGHTS[..9] {
        let said = says("config.json", bytes);
        assert!(said.starts_with(&format!("config.json: {words}")), "{said}, expected {words}");
    }
    for (bytes, words) in [
        ("{\"a\": [1, ", "the file ends after 10 bytes: a download that was cut short"),
        (
            "{\"error\":\"Repository not found\"}",
            "the answer of a server, not the file: \"Repository not found\"",
        ),
        ("{\"message\":\"Bad credentials\"}", "the answer of a server, not the file: \"Bad credentials\""),
    ] {
        assert_eq!(says("tokenizer.json", bytes.as_bytes()), format!("tokenizer.json: {words}"));
    }
    for bytes in ["{} x", "hello", "{\"a\": 1}"] {
        assert_eq!(says("config.json", bytes.as_bytes()), "the reader's own words", "{bytes}");
    }
    assert!(refuse_foreign("chat_template.jinja", b"{{ messages }} <!doctype html>").is_ok());
    let error = refuse_foreign("chat_template.jinja", IN_PLACE_OF_WEIGHTS[2].0).unwrap_err().to_string();
    assert!(error.starts_with("chat_template.jinja: a web page"), "{error}");
    let error = AdapterConfig::from_json(IN_PLACE_OF_WEIGHTS[1].0).unwrap_err().to_string();
    assert!(error.starts_with("adapter_config.json: a Git LFS pointer"), "{error}");
    let error = ShardIndex::parse(IN_PLACE_OF_WEIGHTS[2].0).unwrap_err().to_string();
    assert!(error.starts_with("model.safetensors.index.json: a web page"), "{error}");
}

// Safetensors: the header's text.

#[test]
fn header_is_not_json() {
    assert_refused("", 0, "safetensors header: EOF while parsing a value at line 1 column 0");
    assert_refused("{\"a\"", 0, "safetensors header: `a`: EOF while parsing an object at line 1 column 4");
    assert_refused("{} x", 0, "safetensors header: trailing characters at line 1 column 4");
    assert_refused(
        "[]",
        0,
        "safetensors header: invalid type: sequence, expected an object of tensors at line 1 column 0",
    );
}

#[test]
fn header_is_not_utf8() {
    let mut file = file("{\"a\":0}", 0);
    file[10] = 0xff;
    assert_format_error(
        Header::from_file_bytes(&file),
        "safetensors header: invalid unicode code point at line 1 column 3",
    );
}

#[test]
fn header_is_nested_without_end() {
    let header = format!("{{\"a\":{}", "[".repeat(100_000));
    let error = Header::from_file_bytes(&file(&header, 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
}

#[test]
fn tensor_entry_is_incomplete() {
    assert_refused(
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        4,
        "safetensors header: `a`: missing field `data_offsets` at line 1 column 32",
    );
    assert_refused(
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        4,
        "safetensors header: `a`: invalid value: integer `-1`, expected u64 at line 1 column 31",
    );
    assert_refused(
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#,
        4,
        "safetensors header: `a`: invalid length 1, expected a tuple of size 2 at line 1 column 50",
    );
}

#[test]
fn metadata_is_not_text() {
    assert_refused(
        r#"{"__metadata__":{"rank":8}}"#,
        0,
        "safetensors header: `__metadata__`: `rank`: invalid type: integer `8`, expected a string at line 1 column 25",
    );
}

/// The crate keeps the last of the two. Which one a trainer meant, nobody knows.
#[test]
fn tensor_appears_twice() {
    let entry = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let file = file(&format!("{{{entry},{entry}}}"), 1);
    assert_format_error(
        Header::from_file_bytes(&file),
        "safetensors header: `a` appears twice at line 1 column 56",
    );
}

// Safetensors: where tensors lie.

#[test]
fn tensor_ends_before_it_starts() {
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[3,2]}}"#,
        3,
        "tensor `a`: ends at byte 2, before its start at 3",
    );
}

#[test]
fn tensor_out_of_bounds() {
    assert_refused(
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        7,
        "the file ends after 69 of 70 bytes: a download that was cut short",
    );
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
        7,
        "the file ends after 106 of 18446744073709551615 bytes: a download that was cut short",
    );
}

#[test]
fn tensors_overlap() {
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}"#,
        7,
        "tensor `b`: starts at byte 3, expected 4, where tensor `a` ends: they overlap",
    );
}

#[test]
fn hole_between_tensors() {
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}}"#,
        7,
        "tensor `b`: starts at byte 5, expected 4: a hole",
    );
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}}"#,
        5,
        "tensor `a`: starts at byte 1, expected 0: a hole",
    );
}

#[test]
fn bytes_after_the_last_tensor() {
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
        6,
        "safetensors file: 6 bytes of data, expected 4, where its last tensor ends",
    );
    assert_refused("{}", 1, "safetensors file: 1 bytes of data, expected 0, where its last tensor ends");
}

#[test]
fn shape_disagrees_with_length() {
    assert_refused(
        r#"{"a":{"dtype":"BF16","shape":[3,5],"data_offsets":[0,28]}}"#,
        28,
        "tensor `a`: 28 bytes, expected 30 for shape [3, 5] of BF16",
    );
}

#[test]
fn shape_overflows() {
    assert_refused(
        r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        0,
        "tensor `a`: shape [4294967296, 4294967296] of U8 overflows",
    );
    assert_refused(
        r#"{"a":{"dtype":"I64","shape":[4611686018427387904],"data_offsets":[0,0]}}"#,
        0,
        "tensor `a`: shape [4611686018427387904] of I64 overflows",
    );
}

#[test]
fn tensors_may_come_in_any_order_and_be_empty() {
    let header = r#"{"z":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},
        "none":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},
        "one":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}   "#;
    let bytes = file(header, 6);
    let parsed = Header::from_file_bytes(&bytes).unwrap();
    let names: Vec<_> = parsed.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["one", "none", "z"]);
    assert_eq!(parsed.metadata["format"], "pt");
    let one = parsed.tensor("one").unwrap();
    let start = 8 + header.len() as u64;
    assert_eq!((one.start, one.end, one.shape.as_slice()), (start, start + 4, [].as_slice()));
    assert_eq!(one.read_f32(one.bytes_in(&bytes).unwrap()).unwrap(), [0.0]);
    assert_eq!(parsed.tensor("no such tensor"), None);
}

// Shard indexes.

#[test]
fn shards() {
    let index = ShardIndex::parse(
        br#"{"metadata":{"total_size":9},"weight_map":{"b":"model-2.safetensors","a":"model-1.safetensors","c":"model-2.safetensors"}}"#,
    )
    .unwrap();
    assert_eq!(index.files(), ["model-1.safetensors", "model-2.safetensors"]);
    assert_eq!(index.file_of("b"), Some("model-2.safetensors"));
    assert_eq!(index.file_of("d"), None);
    assert_eq!(index.tensors_in("model-2.safetensors").collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn shard_outside_the_folder() {
    for name in [
        "../model.safetensors",
        "..",
        "",
        ".safetensors",
        "a/model.safetensors",
        "a\\model.safetensors",
        "/model.safetensors",
        "https://example.org/model.safetensors",
        "%2e%2e%2fmodel.safetensors",
        "model.safetensors?",
        "model.safetensors#.safetensors",
        "c:model.safetensors",
        "model\n.safetensors",
        "modèle.safetensors",
        "pytorch_model.bin",
    ] {
        let json = json!({ "weight_map": { "w": name } }).to_string();
        let words = format!(
            "shard index: tensor `w`: file `{}`, expected a plain name ending in `.safetensors`",
            name.escape_debug()
        );
        assert_format_error(ShardIndex::parse(json.as_bytes()), &words);
    }
}

#[test]
fn shard_index_is_not_one() {
    let parse = |json: &str| ShardIndex::parse(json.as_bytes());
    assert_format_error(
        parse("{"),
        "model.safetensors.index.json: the file ends after 1 bytes: a download that was cut short",
    );
    assert_format_error(parse("{}"), "shard index: missing field `weight_map` at line 1 column 2");
    assert_format_error(parse(r#"{"weight_map":{}}"#), "shard index: `weight_map` is empty");
    assert_format_error(
        parse(r#"{"weight_map":{"w":"a.safetensors","w":"b.safetensors"}}"#),
        "shard index: `w` appears twice at line 1 column 55",
    );
    assert_format_error(
        parse(r#"{"weight_map":{"w":1}}"#),
        "shard index: `w`: invalid type: integer `1`, expected a string at line 1 column 20",
    );
}

// Anything at all.

/// Walks everything a caller could reach; the point is that nothing panics.
fn read_all(bytes: &[u8]) {
    if let Ok(header) = Header::from_file_bytes(bytes) {
        for tensor in &header.tensors {
            let bytes = tensor.bytes_in(bytes).unwrap();
            let _ = (tensor.read_f32(bytes), tensor.read_i64(bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        let _ = ShardIndex::parse(&bytes);
    }

    #[test]
    fn mutated_safetensors_agree_with_the_crate(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = written(&[
            ("a", &[2, 3], TensorData::F32(&[1.0; 6])),
            ("b", &[1], TensorData::U32(&[2])),
        ]).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
        // Whatever the crate refuses, so do we, but for types it does not know.
        if let (Ok(ours), Err(theirs)) = (Header::from_file_bytes(&bytes), safetensors::SafeTensors::deserialize(&bytes)) {
            let unknown = ours.tensors.iter().any(|tensor| matches!(tensor.dtype, SourceDtype::Other(_)));
            prop_assert!(unknown, "accepted, but the crate says: {}", theirs);
        }
    }
}
