//! Any bytes as a shard index: an error, or file names that stay in their folder.
//! Not a check that the files exist.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::format::ShardIndex;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = ShardIndex::parse(bytes) else { return };
    for file in index.files() {
        assert!(!file.contains(['/', '\\', ':', '%', '?', '#']) && !file.starts_with('.'));
        assert!(index.tensors_in(file).count() > 0);
    }
});
