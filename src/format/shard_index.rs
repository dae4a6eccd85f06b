//! `model.safetensors.index.json`: which of several weight files holds each tensor.
//! Not a list to fetch blindly: every file name in it is checked first.

use super::foreign::explained;
use super::unique_map::UniqueMap;
use crate::error::{Error, Result};
use crate::json;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Tensor name to file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: UniqueMap<String>,
}

impl ShardIndex {
    /// Parses the index.
    ///
    /// Errors with `Format` if it is not JSON, names no tensor, names one twice, or places
    /// one in a file that is not a plain `….safetensors` beside the index.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let RawIndex { weight_map: UniqueMap(weight_map) } = json::read("shard index", bytes)
            .map_err(|e| explained("model.safetensors.index.json", bytes, e))?;
        if weight_map.is_empty() {
            return Err(Error::format("shard index: `weight_map` is empty"));
        }
        if let Some((tensor, file)) = weight_map.iter().find(|(_, file)| !is_plain_file_name(file)) {
            return Err(Error::format(format!(
                "shard index: tensor `{tensor}`: file `{}`, expected a plain name ending in `.safetensors`",
                file.escape_debug()
            )));
        }
        Ok(Self { weight_map })
    }

    /// The file that holds a tensor.
    pub fn file_of(&self, tensor: &str) -> Option<&str> {
        self.weight_map.get(tensor).map(String::as_str)
    }

    /// The files, sorted, each once.
    pub fn files(&self) -> Vec<&str> {
        let files: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        files.into_iter().collect()
    }

    /// The tensors a file should hold, sorted.
    pub fn tensors_in(&self, file: &str) -> impl Iterator<Item = &str> {
        self.weight_map.iter().filter(move |(_, f)| *f == file).map(|(tensor, _)| tensor.as_str())
    }
}

/// Letters, digits, `.`, `_` and `-`, and no dot in front: what can neither leave a folder
/// nor change meaning in a URL (`%2e%2e%2f`, `?`, `#`, `:`).
fn is_plain_file_name(name: &str) -> bool {
    name.ends_with(".safetensors")
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
