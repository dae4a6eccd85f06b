//! Virtual tokens: what prompt and prefix tuning put in front of every text.
//!
//! In the cache they are tokens like others, with ids past the vocabulary: those of a prompt are
//! computed from embeddings in the bank, those of a prefix are written as keys and values.

use crate::error::{Error, Result};

use crate::engine::Engine;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::loaded::{Choice, Loaded};

impl Engine {
    /// P of an adapter, once its shape is known to fit.
    ///
    /// Errors with `Mismatch` for a shape of another base, `Argument` if its virtual tokens
    /// leave no room for a text.
    pub(in crate::engine) fn check_lead(&self, adapter: &Adapter) -> Result<usize> {
        let config = &self.model.config;
        let kv = config.num_key_value_heads * config.head_dim;
        let (what, len, per_token) = match &adapter.lead {
            None => return Ok(0),
            Some(Lead::Prompt(values)) => ("embeddings", values.len(), config.hidden_size),
            Some(Lead::Prefix(values)) => {
                ("keys and values", values.len(), 2 * config.num_hidden_layers * kv)
            }
        };
        if len == 0 || len % per_token != 0 {
            return Err(Error::mismatch(format!(
                "virtual tokens: {what} of {len} elements, expected {per_token} for each"
            )));
        }
        let (n, context) = (len / per_token, self.model.context());
        if n >= context {
            return Err(Error::argument(format!("{n} virtual tokens, the context has {context}")));
        }
        Ok(n)
    }

    /// Ids of the virtual tokens that come before a text under a choice of adapters.
    ///
    /// Errors with `Argument` as choosing does.
    pub(in crate::engine) fn lead_tokens(&self, choice: Option<&Choice>) -> Result<Vec<u32>> {
        let active = self.adapters.active(choice.unwrap_or(&self.adapters.default))?;
        let v = self.model.config.vocab_size;
        let ids = |loaded: &Loaded| {
            let first = v + loaded.prompts.start;
            (first..first + loaded.n_virtual).map(|id| id as u32).collect()
        };
        Ok(active
            .iter()
            .find(|(loaded, _)| loaded.n_virtual > 0)
            .map(|(loaded, _)| ids(loaded))
            .unwrap_or_default())
    }

    /// Writes the keys and values that the prefix of a line of the mixes gives into a cache slot,
    /// unless its first `cached` positions have them already, and returns how many positions they
    /// fill.
    pub(in crate::engine) fn write_prefix(&mut self, slot: usize, mix: usize, cached: usize) -> usize {
        let Self { model, backend, adapters, .. } = self;
        let prefix = adapters.of_line(mix).find_map(|loaded| match &loaded.adapter.lead {
            Some(Lead::Prefix(values)) => Some((values, loaded.n_virtual)),
            _ => None,
        });
        let Some((values, n)) = prefix else { return 0 };
        if cached >= n {
            return n;
        }
        let layers = model.state.cache.len();
        for (l, (k, v)) in model.state.cache.iter().enumerate() {
            let shape = &model.tensors.get(*k).shape;
            let [_, s, kv] = shape[..] else { unreachable!("a cache is (slots, S, K·D)") };
            for (half, tensor) in [*k, *v].into_iter().enumerate() {
                let line = |p: usize| &values[((p * layers + l) * 2 + half) * kv..][..kv];
                let lines: Vec<f32> = (0..n).flat_map(line).copied().collect();
                backend.upload(tensor, slot * s * kv, bytemuck::cast_slice(&lines));
            }
        }
        n
    }
}
