//! Virtual tokens: what prompt and prefix tuning put in front of every text.
//!
//! In the cache they are tokens like others, with ids past the vocabulary: those of a prompt are
//! computed from embeddings in the bank, those of a prefix are written as keys and values.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::Lead;
use crate::engine::runner::Runner;

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
            let layout = model.cache_layout();
            let kv = layout.kv_cols;
            for (half, tensor) in [*k, *v].into_iter().enumerate() {
                let line = |p: usize| &values[((p * layers + l) * 2 + half) * kv..][..kv];
                let lines: Vec<f32> = (0..n).flat_map(line).copied().collect();
                for (span, words) in layout.spans(slot, 0..n).into_iter().zip(layout.packed(&lines)) {
                    backend.upload(tensor, span.start, &words);
                }
            }
        }
        n
    }
}
