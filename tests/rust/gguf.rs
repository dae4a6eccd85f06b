//! GGUF files that lie: one test per way of lying, each with the words of its error.
//! Not a test of what adapters compute, which is `gguf_adapters.rs`'s.

use crate::common::gguf::{GgufFile, text};
use lorakeet::format::SourceDtype;
use lorakeet::format::gguf::{Array, Header, LoraFile, Value};
use lorakeet::widen::Blocks;
use lorakeet::{ErrorKind, Result};
use proptest::prelude::*;

fn file() -> GgufFile {
    GgufFile::default()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

#[track_caller]
fn assert_format(bytes: &[u8], message: &str) {
    assert_refused(Header::from_file_bytes(bytes), ErrorKind::Format, message);
}

// The front.

#[test]
fn not_gguf() {
    assert_format(b"", "an empty file");
    let words = "GGUF file: begins with [71, 71, 77, 76], expected [71, 71, 85, 70]: GGUF";
    assert_format(b"GGML\x03\0\0\0", words);
}

#[test]
fn other_versions() {
    let version = |bytes: [u8; 4]| Header::from_file_bytes(&file().patched(4, &bytes));
    assert_refused(version([1, 0, 0, 0]), ErrorKind::Unsupported, "GGUF file: version 1, expected 2 or 3");
    let words = "GGUF file: version 50331648, expected 2 or 3: it is big-endian";
    assert_refused(version([0, 0, 0, 3]), ErrorKind::Unsupported, words);
    assert_eq!(version([2, 0, 0, 0]).unwrap().version, 2);
}

#[test]
fn cut_anywhere() {
    let whole = file().text("general.type", "model").matrix("w", 3, &[1.0; 6]).bytes();
    for len in 0..whole.len() {
        assert_eq!(Header::from_file_bytes(&whole[..len]).unwrap_err().kind(), ErrorKind::Format, "{len}");
    }
    Header::from_file_bytes(&whole).unwrap();
}

/// A header that arrives in parts is read once it is there, and a lie in the part is told at once.
#[test]
fn arrives_in_parts() {
    let whole = file().text("general.type", "model").matrix("w", 3, &[1.0; 6]).bytes();
    let total = whole.len() as u64;
    let there = (0..=whole.len()).find(|&n| Header::parse(&whole[..n], total).unwrap().is_some()).unwrap();
    let (front, entry, claim) = (24, 8 + 12 + 4 + 8 + 5, 8 + 1 + 4 + 2 * 8 + 4 + 8);
    assert_eq!(there, front + entry + claim);
    assert_eq!(
        Header::parse(&whole[..there], total).unwrap().unwrap(),
        Header::from_file_bytes(&whole).unwrap()
    );
    let lie = file().raw("k", 7, &[5]).bytes();
    assert_refused(
        Header::parse(&lie, 1 << 40),
        ErrorKind::Format,
        "GGUF metadata 0: `k`: a boolean of 5, expected 0 or 1",
    );
}

#[test]
fn counts_are_not_believed() {
    let many = (1u64 << 60).to_le_bytes();
    assert_format(
        &file().patched(16, &many),
        "GGUF metadata 0: 8 bytes expected at byte 24: the file ends after 24 bytes: a download that was cut short",
    );
    assert_format(
        &file().patched(8, &many),
        "GGUF tensor 0: 8 bytes expected at byte 24: the file ends after 24 bytes: a download that was cut short",
    );
}

// Metadata.

#[test]
fn every_type_of_value() {
    let header = file()
        .raw("u8", 0, &[200])
        .raw("i8", 1, &[200])
        .raw("u16", 2, &[1, 2])
        .raw("i16", 3, &[0xfe, 0xff])
        .raw("u32", 4, &[0xff; 4])
        .raw("i32", 5, &[0xff; 4])
        .f32("f32", 0.1)
        .raw("bool", 7, &[1])
        .text("text", "naïve")
        .raw("u64", 10, &[0xff; 8])
        .raw("i64", 11, &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
        .raw("f64", 12, &0.1f64.to_le_bytes())
        .raw(
            "list",
            9,
            &[&[5, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat(),
        )
        .raw("texts", 9, &[&[8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &text("a"), &text("")].concat())
        .bytes();
    let metadata = Header::from_file_bytes(&header).unwrap().metadata;
    let want = [
        ("bool", Value::Bool(true)),
        ("f32", Value::Float(f64::from(0.1f32))),
        ("f64", Value::Float(0.1)),
        ("i16", Value::Signed(-2)),
        ("i32", Value::Signed(-1)),
        ("i64", Value::Signed(-3)),
        ("i8", Value::Signed(-56)),
        ("list", Value::Array(Array::Signed(vec![3, -1]))),
        ("text", Value::Text("naïve".to_owned())),
        ("texts", Value::Array(Array::Text(vec!["a".to_owned(), String::new()]))),
        ("u16", Value::Unsigned(513)),
        ("u32", Value::Unsigned(4_294_967_295)),
        ("u64", Value::Unsigned(u64::MAX)),
        ("u8", Value::Unsigned(200)),
    ];
    assert_eq!(metadata, want.map(|(key, value)| (key.to_owned(), value)).into());
}

#[test]
fn values_that_lie() {
    let value = |kind: u32, bytes: &[u8]| file().raw("k", kind, bytes).bytes();
    let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    assert_format(&value(13, &[]), "GGUF metadata 0: `k`: value type 13, expected 0 to 12");
    assert_format(&value(9, &list(13, 1)), "GGUF metadata 0: `k`: element type 13, expected 0 to 12");
    assert_format(&value(9, &list(9, 1)), "GGUF metadata 0: `k`: an array of arrays");
    // Neither memory nor time follows a count.
    assert_format(
        &value(9, &list(0, u64::MAX)),
        "GGUF metadata 0: `k`: 1 bytes expected at byte 49: the file ends after 49 bytes: a download that was cut short",
    );
    assert_format(
        &value(8, &u64::MAX.to_le_bytes()),
        "GGUF metadata 0: `k`: a text of 18446744073709551615 bytes, expected at most 16777216",
    );
    assert_format(
        &value(8, &[&1u64.to_le_bytes()[..], &[0xff]].concat()),
        "GGUF metadata 0: `k`: a text that is not UTF-8",
    );
}

#[test]
fn keys_that_lie() {
    assert_format(&file().u32("", 1).bytes(), "GGUF metadata 0: a key of 0 bytes, expected 1 to 65535");
    let long = "k".repeat(65_536);
    assert_format(
        &file().u32(&long, 1).bytes(),
        "GGUF metadata 0: a key of 65536 bytes, expected 1 to 65535",
    );
    assert_format(&file().u32("k", 1).u32("k", 1).bytes(), "GGUF metadata `k` appears twice");
}

#[test]
fn alignments_that_lie() {
    for (value, words) in [(0, "0"), (48, "48")] {
        assert_format(
            &file().u32("general.alignment", value).bytes(),
            &format!("GGUF metadata `general.alignment` is {words}, expected a power of two below 2^32"),
        );
    }
    assert_format(
        &file().f32("general.alignment", 32.0).bytes(),
        "GGUF metadata `general.alignment` is a float, expected an integer",
    );
    let wide = file().u32("general.alignment", 64).claim("w", &[1], 0, 32).data(200).bytes();
    assert_format(&wide, "tensor `w`: starts at byte 32, no multiple of 64");
}

// Tensors.

#[test]
fn tensors_are_where_they_claim() {
    let header = file()
        .claim("q", &[64, 3], 8, 0)
        .claim("h", &[2, 3, 5], 1, 224)
        .claim("one", &[], 0, 288)
        .claim("none", &[0, 7], 0, 0)
        .data(292)
        .bytes();
    let data = (header.len() - 292) as u64;
    let tensors = Header::from_file_bytes(&header).unwrap().tensors;
    let seen: Vec<_> = tensors
        .iter()
        .map(|t| (t.name.as_str(), t.dtype.clone(), t.shape.as_slice(), t.start - data, t.end - data))
        .collect();
    let want: [(&str, SourceDtype, &[usize], u64, u64); 4] = [
        ("q", SourceDtype::Blocks(Blocks::Q8_0), &[3, 64], 0, 204),
        ("h", SourceDtype::F16, &[5, 3, 2], 224, 284),
        ("one", SourceDtype::F32, &[], 288, 292),
        ("none", SourceDtype::F32, &[7, 0], 0, 0),
    ];
    assert_eq!(seen, want);
    assert_eq!(data % 32, 0);
}

#[test]
fn a_type_that_is_not_read_is_named_when_used() {
    let bytes = file().claim("q", &[256], 16, 0).data(66).bytes();
    let header = Header::from_file_bytes(&bytes).unwrap();
    let q = header.tensor("q").unwrap();
    assert_refused(
        q.read_f32(q.bytes_in(&bytes).unwrap()),
        ErrorKind::Mismatch,
        "tensor `q`: dtype IQ2_XXS, expected F32, F16 or BF16",
    );
}

/// By hand: scale 0.5; of Q8_0 the bytes -16, -15, ..; of Q4_0 low nibbles 0 to 15, high ones 15 to 0.
#[test]
fn blocks_are_multiplied_out() {
    let read = |kind: u32, block: &[u8]| {
        let bytes = file().claim("q", &[32], kind, 0).bytes();
        let padded = bytes.len().next_multiple_of(32);
        let bytes = [&bytes[..], &vec![0; padded - bytes.len()], block].concat();
        let header = Header::from_file_bytes(&bytes).unwrap();
        let q = header.tensor("q").unwrap();
        q.read_f32(q.bytes_in(&bytes).unwrap()).unwrap()
    };
    let scale = [0x00, 0x38];
    let q8: Vec<u8> = (0..32).map(|i| (i - 16i8).cast_unsigned()).collect();
    let want: Vec<f32> = (0..32u8).map(|i| (f32::from(i) - 16.0) / 2.0).collect();
    assert_eq!(read(8, &[&scale[..], &q8].concat()), want);
    let q4: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
    let low = (0..16u8).map(|i| (f32::from(i) - 8.0) / 2.0);
    let want: Vec<f32> = low.clone().chain(low.rev()).collect();
    assert_eq!(read(2, &[&scale[..], &q4].concat()), want);
}

#[test]
fn tensors_that_lie() {
    let one = |name: &str, dims: &[u64], kind: u32, offset: u64| {
        file().claim(name, dims, kind, offset).data(64).bytes()
    };
    assert_format(&one("", &[1], 0, 0), "GGUF tensor 0: a name of 0 bytes, expected 1 to 64");
    assert_format(&one(&"w".repeat(65), &[1], 0, 0), "GGUF tensor 0: a name of 65 bytes, expected 1 to 64");
    assert_format(&one("w", &[1; 5], 0, 0), "GGUF tensor 0: `w`: 5 dimensions, expected at most 4");
    assert_refused(
        Header::from_file_bytes(&one("w", &[1], 4, 0)),
        ErrorKind::Unsupported,
        "GGUF tensor 0: `w`: ggml type 4, which is not known",
    );
    assert_format(&one("w", &[1], 0, 31), "tensor `w`: starts at byte 31, no multiple of 32");
    for (dim, offset) in [(17, 0), (1, 64), (1, u64::MAX - 31)] {
        let bytes = one("w", &[dim], 0, offset);
        let (has, lacks) = (bytes.len() as u64, if offset > 64 { u64::MAX } else { 4 });
        let claims = has.saturating_add(lacks);
        let words = format!("the file ends after {has} of {claims} bytes: a download that was cut short");
        assert_format(&bytes, &words);
    }
    assert_format(
        &one("w", &[33], 8, 0),
        "tensor `w`: dimensions [33] of Q8_0: too many, or a row is no multiple of 32",
    );
    assert_format(
        &one("w", &[1 << 32, 1 << 32], 24, 0),
        "tensor `w`: dimensions [4294967296, 4294967296] of I8: too many, or a row is no multiple of 1",
    );
    let two = |a: &str, b: &str, at: u64| file().claim(a, &[9], 0, 0).claim(b, &[1], 0, at).data(128).bytes();
    assert_format(&two("a", "a", 64), "tensor `a`: appears twice");
    assert_format(&two("a", "b", 32), "tensors `a` and `b` overlap");
    assert_format(&two("a", "b", 0), "tensors `a` and `b` overlap");
    Header::from_file_bytes(&two("a", "b", 64)).unwrap();
}

// LoRA files.

fn lora() -> GgufFile {
    file().text("general.architecture", "llama").text("general.type", "adapter").text("adapter.type", "lora")
}

fn pair(file: GgufFile) -> GgufFile {
    file.matrix("blk.0.attn_q.weight.lora_a", 3, &[1.0; 6]).matrix("blk.0.attn_q.weight.lora_b", 2, &[1.0; 8])
}

#[track_caller]
fn assert_no_lora(file: &GgufFile, kind: ErrorKind, message: &str) {
    assert_refused(LoraFile::from_file_bytes(&file.bytes()), kind, message);
}

#[test]
fn a_lora_file_is_read() {
    let file = pair(lora().f32("adapter.lora.alpha", 5.0).text("adapter.lora.task_name", "sql"));
    let read = LoraFile::from_file_bytes(&file.bytes()).unwrap();
    let [(name, pair)] = read.pairs.as_slice() else { panic!("{:?}", read.pairs) };
    assert_eq!(name, "blk.0.attn_q.weight");
    assert_eq!(
        (read.architecture.as_str(), pair.rank().unwrap(), read.scale(pair).unwrap()),
        ("llama", 2, 2.5)
    );
}

/// Integers, as some converters write them.
#[test]
fn an_alpha_may_have_any_type_of_number() {
    for (kind, value) in [
        (0, &[5u8][..]),
        (3, &5i16.to_le_bytes()),
        (4, &5u32.to_le_bytes()),
        (5, &5i32.to_le_bytes()),
        (10, &5u64.to_le_bytes()),
        (11, &5i64.to_le_bytes()),
        (12, &5f64.to_le_bytes()),
    ] {
        let file = pair(lora().raw("adapter.lora.alpha", kind, value));
        assert_eq!(LoraFile::from_file_bytes(&file.bytes()).expect("a number").alpha, 5.0, "type {kind}");
    }
    let text = pair(lora().text("adapter.lora.alpha", "5"));
    assert_no_lora(
        &text,
        ErrorKind::Format,
        "GGUF metadata `adapter.lora.alpha` is a text, expected a number",
    );
    let words = "GGUF adapter: adapter.lora.alpha is 0, expected a finite number but 0";
    assert_no_lora(&pair(lora().u32("adapter.lora.alpha", 0)), ErrorKind::Format, words);
}

/// The base's constants, which older converters wrote into adapters too.
#[test]
fn tensors_without_effect_are_left_out() {
    let plain = pair(lora().f32("adapter.lora.alpha", 5.0));
    let more =
        plain.clone().vector("rope_freqs.weight", &[1.0, 2.0]).vector("rope_factors_long.weight", &[3.0]);
    let [plain, more] = [plain, more].map(|file| LoraFile::from_file_bytes(&file.bytes()).expect("valid"));
    let names = |file: &LoraFile| file.pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&more), names(&plain));
    let alone = lora().f32("adapter.lora.alpha", 5.0).vector("rope_freqs.weight", &[1.0]);
    assert_no_lora(&alone, ErrorKind::Format, "GGUF adapter: it has no tensors");
}

#[test]
fn lora_files_that_lie() {
    use ErrorKind::{Format, Mismatch, Unsupported};
    let model = file().text("general.type", "model");
    assert_no_lora(&model, Format, "GGUF file: general.type is `model`, expected `adapter`");
    assert_no_lora(&file(), Format, "GGUF metadata `general.type` is missing, expected a text");
    let other = file().text("general.type", "adapter").text("adapter.type", "control");
    assert_no_lora(&other, Unsupported, "GGUF adapter: adapter.type is `control`, expected `lora`");
    let activated = pair(lora().f32("adapter.lora.alpha", 5.0).u32("adapter.alora.invocation_tokens", 1));
    let words = "GGUF adapter: metadata `adapter.alora.invocation_tokens` is not supported";
    assert_no_lora(&activated, Unsupported, words);
    assert_no_lora(&lora(), Format, "GGUF metadata `adapter.lora.alpha` is missing, expected a number");
    for (alpha, words) in [(0.0, "0"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        assert_no_lora(
            &pair(lora().f32("adapter.lora.alpha", alpha)),
            Format,
            &format!("GGUF adapter: adapter.lora.alpha is {words}, expected a finite number but 0"),
        );
    }
    let scaled = || lora().f32("adapter.lora.alpha", 5.0);
    assert_no_lora(&scaled(), Format, "GGUF adapter: it has no tensors");
    assert_no_lora(
        &scaled().matrix("blk.0.attn_norm.weight", 3, &[1.0; 3]).vector("rope_freqs.weight", &[1.0]),
        Unsupported,
        "tensor `blk.0.attn_norm.weight`: whole tensors in a GGUF adapter are not supported",
    );
    for (has, lacks) in [("lora_a", "lora_b"), ("lora_b", "lora_a")] {
        assert_no_lora(
            &scaled().matrix(&format!("w.{has}"), 3, &[1.0; 6]),
            Mismatch,
            &format!("tensor `w.{has}`: the adapter has no {lacks} for it"),
        );
    }
    let ranks = scaled().matrix("w.lora_a", 3, &[1.0; 6]).matrix("w.lora_b", 3, &[1.0; 6]);
    let read = LoraFile::from_file_bytes(&ranks.bytes()).unwrap();
    assert_refused(
        read.scale(&read.pairs[0].1),
        Mismatch,
        "tensors `w.lora_a` [2, 3] and `w.lora_b` [2, 3]: expected (R, C_in) and (C_out, R), R above 0",
    );
}

#[test]
fn warnings_say_what_the_file_cannot() {
    let warnings = |file: GgufFile| {
        LoraFile::from_file_bytes(&file.f32("adapter.lora.alpha", 5.0).bytes()).unwrap().warnings()
    };
    let one = |file: GgufFile| file.matrix("w.lora_a", 3, &[1.0; 3]).matrix("w.lora_b", 1, &[1.0; 4]);
    assert_eq!(warnings(one(lora().text("general.name", "rslora"))), [""; 0]);
    let two = warnings(pair(lora()));
    assert_eq!(
        two,
        [
            "scale alpha/rank: its metadata cannot say whether it was rsLoRA; the conversion of an rsLoRA adapter to GGUF \
          loses a factor of √2 = 1.414, so that weight 1.414 is right; the PEFT folder is exact"
        ]
    );
    // A word that begins so, not one that holds it.
    assert_eq!(warnings(pair(lora().text("general.name", "Tutors LoRA"))), two);
    for name in ["rslora-r16", "My rsLoRA"] {
        let said = warnings(pair(lora().text("general.name", name)));
        assert!(said[0].contains(&format!("its metadata says \"{name}\"")), "{said:?}");
    }
    let both = warnings(one(pair(lora())));
    assert!(both[0].contains("the square root of each rank, up to √2;"), "{both:?}");
    assert_eq!(
        both[1],
        "one alpha, 5, for ranks [1, 2]: an alpha_pattern would have been lost in the conversion to GGUF"
    );
}

// Anything at all.

/// Walks everything a caller could reach; the point is that nothing panics.
fn read_all(bytes: &[u8]) {
    if let Ok(header) = Header::from_file_bytes(bytes) {
        for tensor in &header.tensors {
            let _ = tensor.read_f32(tensor.bytes_in(bytes).unwrap());
        }
    }
    if let Ok(lora) = LoraFile::from_file_bytes(bytes) {
        let _ = lora.warnings();
        lora.pairs.iter().for_each(|(_, pair)| assert_eq!(lora.scale(pair).is_ok(), pair.rank().is_ok()));
    }
    let _ = Header::parse(bytes, u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        read_all(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn mutated_files_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = pair(lora().f32("adapter.lora.alpha", 5.0)).bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}
