//! Any bytes as a `tokenizer.json`: an error, or a tokenizer that encodes and decodes.
//! Not a check of the ids; only the stream must agree with itself.
//!
//! Seed the corpus with real files, or the fuzzer spends its time on braces:
//! `cp tests/fixtures/tokenizer/tokenizer.json tests/fuzz/corpus/tokenizer/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::tokenizer::{StreamDecoder, Tokenizer};

const TEXT: &str = "Hello <s>  naïve cafe\u{301} 漢字 👍🏽\n\t12345 don't</s> ▁a ab";

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(bytes) else { return };
    for special in [false, true] {
        if let Ok(ids) = tokenizer.encode(TEXT, special) {
            let _ = tokenizer.decode(&ids, special);
            let _ = StreamDecoder::after(&tokenizer, &ids, special);
        }
    }
    let ids: Vec<u32> = (0..40).chain([u32::MAX]).collect();
    let _ = tokenizer.decode(&ids, false);
    assert!(tokenizer.id_to_token(tokenizer.vocab_size() as u32).is_none());
});
