//! The fuzzer's parsers over its corpus, and over seeded random changes of it, in little memory.
//! Not fuzzing: `tools/fuzz.mjs` does that, for hours.
#![cfg(not(target_arch = "wasm32"))]

#[path = "fuzz/src/memory.rs"]
mod memory;
#[path = "fuzz/src/parsers.rs"]
mod parsers;

use std::path::{Path, PathBuf};

/// Changed inputs of each parser.
const CHANGED: usize = 2000;

fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(parser);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus")).collect()
}

/// SplitMix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % n.max(1) as u64) as usize
    }

    /// A file with a few bytes changed, a piece cut out, or the end of another behind its beginning.
    fn changed(&mut self, files: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = files[self.below(files.len())].clone();
        match self.below(4) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => {
                let other = &files[self.below(files.len())];
                bytes.truncate(self.below(bytes.len()));
                bytes.extend(&other[self.below(other.len())..]);
            }
            _ => {
                for _ in 0..=self.below(4) {
                    let at = self.below(bytes.len());
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.below(256) as u8;
                    }
                }
            }
        }
        bytes
    }
}

#[test]
fn parsers_answer_any_bytes_within_their_memory() {
    for (name, parser) in parsers::ALL {
        let files = corpus(name);
        assert!(files.len() > 3, "{name}: the corpus is all but empty");
        let mut random = Random(1);
        let changed = (0..CHANGED).map(|_| random.changed(&files)).collect::<Vec<_>>();
        for bytes in files.iter().chain(&changed) {
            memory::bounded(bytes, || parser(bytes));
        }
    }
}

#[test]
#[should_panic(expected = "bytes of memory for an input of 2")]
fn a_parser_that_takes_too_much_is_told() {
    memory::bounded(b"ab", || drop(std::hint::black_box(vec![1u8; 65 << 20])));
}
