//! Virtual tokens: what prompt and prefix tuning put in front of every text.
//!
//! In the cache they are tokens like others, with ids past the vocabulary: those of a prompt are
//! computed from embeddings in the bank, those of a prefix are written as keys and values.

use crate::error::{Error, Result};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::runner::Runner;
use crate::model::Model;

/// P of an adapter, once its shape is known to fit.
///
/// Errors with `Mismatch` for a shape of another base, `Argument` if its virtual tokens
/// leave no room for a text.
pub(crate) fn check_lead(model: &Model, adapter: &Adapter) -> Result<usize> {
    let config = &model.config;
    let kv = config.num_key_value_heads * config.head_dim;
    let (what, len, per_token) = match &adapter.lead {
        None => return Ok(0),
        Some(Lead::Prompt(values)) => ("embeddings", values.len(), config.hidden_size),
        Some(Lead::Prefix(values)) => ("keys and values", values.len(), 2 * config.layers.len() * kv),
    };
    if len == 0 || len % per_token != 0 {
        return Err(Error::mismatch(format!(
            "virtual tokens: {what} of {len} elements, expected {per_token} for each"
        )));
    }
    let (n, context) = (len / per_token, model.context());
    if n >= context {
        return Err(Error::argument(format!("{n} virtual tokens, the context has {context}")));
    }
    Ok(n)
}

impl Adapters {
    /// Writes the keys and values that the prefix of a line of the mixes gives into a cache slot,
    /// unless its first `cached` positions have them already, and returns how many positions they
    /// fill.
    pub(crate) fn write_prefix(&self, runner: &mut Runner, slot: usize, line: usize, cached: usize) -> usize {
        let (model, backend) = runner.parts();
        let prefix = self.of_line(line).find_map(|loaded| match &loaded.adapter.lead {
            Some(Lead::Prefix(values)) => Some((values, loaded.n_virtual)),
            _ => None,
        });
        let Some((values, n)) = prefix else { return 0 };
        if cached >= n {
            return n;
        }
        let (values, layers) = (values.values(), model.state.cache.len());
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
