//! Files that lie: one test per way of lying, each with the words of its error.
//! Not a test of what honest files mean; the model and tokenizer tests have those.

#![cfg(not(target_arch = "wasm32"))]

use half::{bf16, f16};
use lorakeet::engine::AdapterConfig;
use lorakeet::format::gguf;
use lorakeet::format::safetensors::{Header, MAX_HEADER_BYTES};
use lorakeet::format::{ShardIndex, SourceDtype, TensorData, TensorInfo, explained, refuse_foreign, write};
use lorakeet::tokenizer::Tokenizer;
use lorakeet::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A file of this header and so many bytes of data.
fn file(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data_bytes, 0);
    file
}

#[track_caller]
fn assert_format_error<T: std::fmt::Debug>(result: Result<T, Error>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Format, message));
}

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

// Safetensors: reading a tensor.

fn tensor(dtype: SourceDtype, elements: usize, bytes: u64) -> TensorInfo {
    TensorInfo { name: "w".to_owned(), dtype, shape: vec![elements], start: 100, end: 100 + bytes }
}

/// Listing a file with a tensor of an unknown type is fine; reading that tensor is not.
#[test]
fn unknown_dtype_when_used() {
    let bytes = file(
        r#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
    );
    let header = Header::from_file_bytes(&bytes).unwrap();
    let b = header.tensor("b").unwrap();
    assert_eq!(b.read_f32(b.bytes_in(&bytes).unwrap()).unwrap(), [0.0]);
    let a = header.tensor("a").unwrap();
    let error = a.read_f32(a.bytes_in(&bytes).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `a`: dtype F8_E4M3, expected F32, F16 or BF16");
}

#[test]
fn known_dtype_of_the_wrong_sort() {
    let error = tensor(SourceDtype::Bool, 1, 1).read_f32(&[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `w`: dtype BOOL, expected F32, F16 or BF16");
    let error = tensor(SourceDtype::F16, 1, 2).read_i64(&[1, 0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `w`: dtype F16, expected I64, I32, U32 or U8");
}

#[test]
fn tensor_cut_short_on_the_way() {
    let info = tensor(SourceDtype::F32, 2, 8);
    assert_format_error(info.read_f32(&[0; 7]), "tensor `w`: 7 bytes, expected 8");
    assert_format_error(info.read_f32(&[0; 12]), "tensor `w`: 12 bytes, expected 8");
    assert_format_error(info.bytes_in(&[0; 107]), "tensor `w`: ends at byte 108 of a file of 107");
}

#[test]
fn every_f16_and_bf16_widens_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    // One byte in front: nothing may depend on alignment.
    let mut bytes = vec![0xee];
    bytes.extend(all.iter().flat_map(|bits| bits.to_le_bytes()));
    let size = bytes.len() as u64 - 1;
    let f16s = tensor(SourceDtype::F16, all.len(), size).read_f32(&bytes[1..]).unwrap();
    let bf16s = tensor(SourceDtype::BF16, all.len(), size).read_f32(&bytes[1..]).unwrap();
    for ((bits, got_f16), got_bf16) in all.into_iter().zip(f16s).zip(bf16s) {
        for (name, got, want) in [
            ("f16", got_f16, f16::from_bits(bits).to_f32()),
            ("bf16", got_bf16, bf16::from_bits(bits).to_f32()),
        ] {
            let same = if want.is_nan() { got.is_nan() } else { got.to_bits() == want.to_bits() };
            assert!(same, "{name} {bits:#06x}: {got}, expected {want}");
        }
    }
}

#[test]
fn special_values() {
    let read = |dtype, bits: u16| tensor(dtype, 1, 2).read_f32(&bits.to_le_bytes()).unwrap()[0];
    assert_eq!(read(SourceDtype::F16, 0x7c00), f32::INFINITY);
    assert_eq!(read(SourceDtype::F16, 0xfc00), f32::NEG_INFINITY);
    assert_eq!(read(SourceDtype::F16, 0x0001), 2.0f32.powi(-24));
    assert_eq!(read(SourceDtype::F16, 0x83ff), -1023.0 * 2.0f32.powi(-24));
    assert_eq!(read(SourceDtype::F16, 0x7bff), 65504.0);
    assert_eq!(read(SourceDtype::F16, 0x8000).to_bits(), (-0.0f32).to_bits());
    assert_eq!(read(SourceDtype::F16, 0x7d01).to_bits(), 0x7fa0_2000); // a signalling NaN stays one
    assert_eq!(read(SourceDtype::BF16, 0xff80), f32::NEG_INFINITY);
    assert_eq!(read(SourceDtype::BF16, 0x0001).to_bits(), 0x0001_0000);
    assert!(read(SourceDtype::BF16, 0x7f81).is_nan());
}

#[test]
fn integers() {
    let bytes: Vec<u8> = (-2i32..3).flat_map(i32::to_le_bytes).collect();
    assert_eq!(tensor(SourceDtype::I32, 5, 20).read_i64(&bytes).unwrap(), [-2, -1, 0, 1, 2]);
    let bytes: Vec<u8> = [i64::MIN, i64::MAX].into_iter().flat_map(i64::to_le_bytes).collect();
    assert_eq!(tensor(SourceDtype::I64, 2, 16).read_i64(&bytes).unwrap(), [i64::MIN, i64::MAX]);
    assert_eq!(tensor(SourceDtype::U32, 1, 4).read_i64(&[0xff; 4]).unwrap(), [0xffff_ffff]);
    assert_eq!(tensor(SourceDtype::U8, 2, 2).read_i64(&[0, 255]).unwrap(), [0, 255]);
}

// Safetensors: writing.

fn written(tensors: &[(&str, &[usize], TensorData<'_>)]) -> Result<Vec<u8>, Error> {
    let tensors: Vec<_> = tensors.iter().map(|(n, s, d)| ((*n).to_owned(), s.to_vec(), *d)).collect();
    let metadata =
        BTreeMap::from([("format".to_owned(), "pt".to_owned()), ("by".to_owned(), "us".to_owned())]);
    write(&tensors, &metadata)
}

#[test]
fn what_is_written_is_read_back() {
    let floats = [1.5, -0.0, f32::INFINITY, 1e-40, -7.25, 3.0];
    let bytes = written(&[
        ("z", &[2, 3], TensorData::F32(&floats)),
        ("a", &[1], TensorData::U32(&[u32::MAX])),
        ("none", &[0, 5], TensorData::F32(&[])),
    ])
    .unwrap();
    let header = Header::from_file_bytes(&bytes).unwrap();
    assert_eq!(header.metadata["by"], "us");
    let z = header.tensor("z").unwrap();
    assert_eq!((z.shape.as_slice(), z.start % 8), ([2, 3].as_slice(), 0));
    let read = z.read_f32(z.bytes_in(&bytes).unwrap()).unwrap();
    assert_eq!(read.map_bits(), floats.to_vec().map_bits());

    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.tensor("a").unwrap().data(), [0xff; 4]);
    assert_eq!(theirs.tensor("none").unwrap().shape(), [0, 5]);
    assert_eq!(theirs.len(), 3);
}

trait MapBits {
    fn map_bits(self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(self) -> Vec<u32> {
        self.into_iter().map(f32::to_bits).collect()
    }
}

#[test]
fn what_cannot_be_written() {
    let refusal = |tensors: &[(&str, &[usize], TensorData<'_>)]| {
        let error = written(tensors).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        error.to_string()
    };
    let one = TensorData::F32(&[0.0]);
    assert_eq!(refusal(&[("a", &[2], one)]), "tensor `a`: 1 elements, expected as many as shape [2] has");
    assert_eq!(
        refusal(&[("a", &[usize::MAX, 2], one)]),
        "tensor `a`: 1 elements, expected as many as shape [18446744073709551615, 2] has"
    );
    assert_eq!(refusal(&[("a", &[1], one), ("a", &[1], one)]), "tensor `a`: the name is taken");
    assert_eq!(refusal(&[("__metadata__", &[1], one)]), "tensor `__metadata__`: the name is taken");
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

// Tokenizers.

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
        read_all(&bytes);
        let _ = ShardIndex::parse(&bytes);
        read_tokenizer(&bytes);
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
