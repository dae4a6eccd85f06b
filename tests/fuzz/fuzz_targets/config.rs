//! Any bytes as a `config.json`: an error or a config, never a panic.
//! Not a check of what a config means.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::config::ModelConfig;

fuzz_target!(|bytes: &[u8]| {
    let _ = ModelConfig::from_json(bytes);
});
