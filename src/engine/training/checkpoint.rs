//! A training's state as one file, so that it goes on after a reload: where it was, and the adapter.
//! Not the optimiser's moments, which begin anew; nor where the file lies.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use crate::engine::adapters::files::AdapterFiles;
use crate::engine::training::options::Kept;

/// The file's first line, as JSON; the adapter's weights follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// A digest of what is learned.
    pub(crate) of: String,
    /// Steps done.
    pub(crate) step: usize,
    /// Steps in all.
    pub(crate) steps: usize,
    /// What else the adapter's numbers depend on.
    pub(crate) options: Kept,
    /// `adapter_config.json`
    pub(crate) config: String,
}

/// A training's state.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    pub(crate) head: Head,
    /// `adapter_model.safetensors`
    pub(crate) weights: &'a [u8],
}

impl<'a> Checkpoint<'a> {
    /// Reads a file; `key` is what it is known by.
    ///
    /// Errors with `Format`.
    pub(super) fn parse(key: &str, file: &'a [u8]) -> Result<Self> {
        let end = file.iter().position(|&byte| byte == b'\n').unwrap_or(file.len());
        let head = serde_json::from_slice(&file[..end])
            .map_err(|e| Error::format(format!("checkpoint `{key}`: {e}")))?;
        Ok(Self { head, weights: file.get(end + 1..).unwrap_or_default() })
    }

    /// Errors with `Argument` if it is of another training than one of `steps` steps on what `of` digests,
    /// with these options.
    pub(super) fn check(&self, key: &str, of: &str, steps: usize, options: &Kept) -> Result<()> {
        let Head { of: its, steps: all, options: other, .. } = &self.head;
        let another = |why: String| {
            Err(Error::argument(format!("checkpoint `{key}` is of another training{why}; use another key")))
        };
        if its != of || *all != steps {
            return another(format!(
                ", of {all} steps, this one has {steps}: another dataset or other options"
            ));
        }
        match other.difference(options) {
            Some((name, [its, here])) => another(format!(": its {name} is {its}, this one has {here}")),
            None => Ok(()),
        }
    }
}

impl Head {
    /// The file of an adapter; `config` is its own.
    ///
    /// Errors with `Format` for a config that is no UTF-8.
    pub(super) fn file(mut self, AdapterFiles { config, weights }: AdapterFiles) -> Result<Vec<u8>> {
        self.config =
            String::from_utf8(config).map_err(|_| Error::format("adapter_config.json: not UTF-8"))?;
        let mut file = serde_json::to_vec(&self).map_err(|e| Error::format(e.to_string()))?;
        file.push(b'\n');
        file.extend(weights);
        Ok(file)
    }
}
