//! TypeScript's unions of words are those that the engine takes: the types there have no list of their own to check.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use lorakeet::Error;
use lorakeet::cache::cache_type;
use lorakeet::dtype::Dtype;
use lorakeet::engine::{
    CombinationType, Finish, Kv, MajoritySign, Overflow, Pooling, Preset, Schedule, Variant,
};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The quoted words of a file between `from` and the first `to` after it.
fn quoted(text: &str, from: &str, to: char) -> BTreeSet<String> {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no `{from}`"));
    let part = rest.split(to).next().unwrap_or_default();
    part.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words that an error lists.
fn listed(error: Error) -> BTreeSet<String> {
    let message = error.to_string();
    let (_, words) = message.split_once(", expected ").expect("a list");
    words.replace(" or ", ", ").split(", ").map(str::to_owned).collect()
}

fn taken<T: FromStr<Err = Error>>() -> BTreeSet<String> {
    let words = listed("?".parse::<T>().err().expect("no word"));
    for word in &words {
        assert!(word.parse::<T>().is_ok(), "{word}");
    }
    words
}

#[test]
fn the_unions_of_typescript_are_the_lists_of_the_engine() {
    let dtypes = listed(Dtype::from_name("?").expect_err("no word"));
    let kv_dtypes = listed(cache_type("?").expect_err("no word"));
    let unions = [
        ("engine-options.ts", "type KvDtype =", kv_dtypes),
        ("engine-options.ts", "type Dtype =", dtypes),
        ("request.ts", "overflow?:", taken::<Overflow>()),
        ("embeddings.ts", "pooling?:", taken::<Pooling>()),
        ("weighted.ts", "type CombinationType =", taken::<CombinationType>()),
        ("weighted.ts", "majoritySignMethod?:", taken::<MajoritySign>()),
        ("train.ts", "variant?:", taken::<Variant>()),
        ("train.ts", "schedule?:", taken::<Schedule>()),
        ("temp-lora-options.ts", "variant?:", taken::<Variant>()),
        ("temp-lora-options.ts", "preset?:", taken::<Preset>()),
        ("temp-lora-options.ts", "kv?:", taken::<Kv>()),
    ];
    for (name, from, words) in unions {
        assert_eq!(quoted(&file(&format!("js/api/{name}")), from, ';'), words, "{name}: {from}");
    }
}

#[test]
fn devices_ends_and_kinds_of_errors_are_the_same_in_both() {
    let devices = quoted(&file("bindings/engine/loader.rs"), "words!(Device, \"device\", ", ';');
    assert_eq!(quoted(&file("js/api/engine-options.ts"), "device?:", ';'), devices);
    let ends: BTreeSet<_> = [Finish::Stop, Finish::Length].map(|end| end.as_str().to_owned()).into();
    assert_eq!(quoted(&file("js/api/generation.ts"), "type FinishReason =", ';'), ends);
    let kinds = quoted(&file("kernels/error.rs"), "fn as_str(self) -> &'static str {", '}');
    assert_eq!(quoted(&file("js/error.ts"), "const KINDS =", ';'), kinds);
}

#[test]
fn a_difference_is_seen() {
    let text = "pooling?: \"mean\" | \"first\";";
    assert_ne!(quoted(text, "pooling?:", ';'), taken::<Pooling>());
}
