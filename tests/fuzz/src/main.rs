//! The fuzzer's program: the parser that LORAKEET_PARSER names, over bytes that libFuzzer makes up.
//! Not the parsers' checks: those are in `parsers.rs`.
#![no_main]

mod memory;
mod parsers;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static PARSER: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("LORAKEET_PARSER").expect("LORAKEET_PARSER names a parser");
    parsers::ALL.iter().find(|(known, _)| *known == name).expect("a parser of parsers.rs").1
});

fuzz_target!(|bytes: &[u8]| {
    let parser = *PARSER;
    memory::bounded(bytes, || parser(bytes));
});
