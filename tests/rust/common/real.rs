//! Where real models and tokenizers are, which the tools fetch by digest.
//! What is missing is a printed skip, and a failure where LORAKEET_REQUIRE_MODELS is set, as in CI.

use std::path::PathBuf;

const REQUIRE_MODELS: &str = "LORAKEET_REQUIRE_MODELS";

/// Real tokenizers, by the names of `tools/real_tokenizers.mjs`.
pub(crate) const TOKENIZERS: [&str; 8] =
    ["gpt2", "llama2", "llama3_2", "qwen3", "mistral_nemo", "gemma3", "command_r_plus", "gpt4o"];

/// A file or folder of `$LORAKEET_MODELS` or the user's cache, if it is there.
pub(crate) fn at_hand(path: &str) -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")));
    let home = given("LORAKEET_MODELS").or_else(|| Some(cache()?.join("lorakeet-models")));
    let found = home.map(|home| home.join(path)).filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: no {path}");
    }
    found
}

/// The same of what `tool` fetches.
pub(crate) fn fetched(path: &str, tool: &str) -> Option<PathBuf> {
    let found = at_hand(path);
    if found.is_none() {
        let required = std::env::var_os(REQUIRE_MODELS).is_some();
        assert!(!required, "{REQUIRE_MODELS} is set, and {path} is missing: `{tool}` fetches it");
        println!("`{tool}` fetches it");
    }
    found
}

/// The folder of real tokenizers.
pub(crate) fn tokenizers() -> Option<PathBuf> {
    fetched("tokenizers", "node tools/real_tokenizers.mjs")
}
