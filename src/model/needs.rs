//! What a model takes of memory, counted from its declared tensors: nothing is allocated for it.
//! Whether there is so much is the engine's business.

use std::collections::BTreeSet;
use std::fmt;

use crate::cache::{CacheLayout, held_type};
use crate::plan::{Dtype, TensorId};

use super::{Blueprint, Model};

/// Bytes of a model's tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The checkpoint's tensors, in the type they are held in.
    pub weights: u64,
    /// Keys and values of all slots.
    pub cache: u64,
    /// Adapters.
    pub bank: u64,
    /// Activations, logits and tables.
    pub work: u64,
    /// Training an adapter.
    pub training: u64,
}

impl Needs {
    /// All together.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.bank + self.work + self.training
    }
}

/// `4.9 GB (weights 4.1, cache 0.5, work 0.3)`; parts too small for a digit are left out.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = unit(self.total());
        let parts = [
            ("weights", self.weights),
            ("cache", self.cache),
            ("adapters", self.bank),
            ("work", self.work),
            ("training", self.training),
        ];
        let shown = parts.iter().map(|(part, bytes)| (part, format!("{:.1}", *bytes as f64 / unit)));
        let shown: Vec<_> =
            shown.filter(|(_, size)| size != "0.0").map(|(part, size)| format!("{part} {size}")).collect();
        write!(f, "{:.1} {name} ({})", self.total() as f64 / unit, shown.join(", "))
    }
}

/// A number of bytes for people: `2.1 GB`, `310.0 MB`.
pub fn size(bytes: u64) -> String {
    let (unit, name) = unit(bytes);
    format!("{:.1} {name}", bytes as f64 / unit)
}

fn unit(bytes: u64) -> (f64, &'static str) {
    match bytes {
        1_000_000_000.. => (1e9, "GB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        0..1_000_000 => (1e3, "kB"),
    }
}

/// The type of keys and values where one is asked for, and K·D.
pub(super) fn cache_of(config: &Blueprint, wanted: Dtype) -> (Dtype, usize) {
    let kv = config.num_key_value_heads * config.head_dim;
    (held_type(wanted, kv, config.head_dim), kv)
}

impl Model {
    /// Weights of the head.
    pub(crate) fn head_weights(&self) -> usize {
        self.config.vocab_size * self.config.hidden_size
    }

    /// Weights of a layer's linear maps: multiplications of a row's way through it.
    pub(crate) fn layer_weights(&self) -> usize {
        let Blueprint { hidden_size: c, intermediate_size: f, head_dim, .. } = self.config;
        let [q, kv] =
            [self.config.num_attention_heads, self.config.num_key_value_heads].map(|n| n * head_dim);
        let up = if self.config.gated { 2 * f } else { f };
        c * (2 * q + 2 * kv + up + f)
    }

    /// The same of all layers.
    pub(crate) fn all_layer_weights(&self) -> usize {
        self.config.layers.len().saturating_mul(self.layer_weights())
    }

    /// How the keys, or the values, of a layer lie.
    pub(crate) fn cache_layout(&self) -> CacheLayout {
        let (k, _) = self.state.cache[0];
        CacheLayout::of(self.tensors.get(k))
    }

    /// The type that keys and values are held in.
    pub fn kv_dtype(&self) -> Dtype {
        self.cache_layout().dtype
    }

    /// Bytes of keys and values of one slot.
    pub(crate) fn slot_bytes(config: &Blueprint, context: usize, kv_dtype: Dtype) -> u64 {
        let (kv_dtype, kv) = cache_of(config, kv_dtype);
        8 * (config.layers.len() * kv_dtype.row_words(kv)) as u64 * context as u64
    }

    /// What its tensors take, adapters and training as they are now.
    pub fn needs(&self) -> Needs {
        let all = self.tensors.total_bytes();
        let sum = |ids: BTreeSet<TensorId>| ids.iter().map(|&id| self.tensors.get(id).bytes()).sum();
        let weights = sum(self.weights.tensors());
        let cache = sum(self.state.cache.iter().flat_map(|&(k, v)| [k, v]).collect());
        let bank = sum(self.bank.tensors());
        // What training needs is declared last.
        let first = self.training.numbers.min(self.training.scratch.middle);
        let training = sum(self.tensors.iter().map(|(id, _)| id).filter(|&id| id >= first).collect());
        Needs { weights, cache, bank, work: all - weights - cache - bank - training, training }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_one_unit() {
        let needs = Needs {
            weights: 4_100_000_000,
            cache: 500_000_000,
            bank: 10_000_000,
            work: 290_000_000,
            training: 0,
        };
        assert_eq!(needs.to_string(), "4.9 GB (weights 4.1, cache 0.5, work 0.3)");
        let needs =
            Needs { weights: 400_000_000, cache: 128_000_000, training: 1_200_000, ..Needs::default() };
        assert_eq!(needs.to_string(), "529.2 MB (weights 400.0, cache 128.0, training 1.2)");
        assert_eq!([size(999), size(310_000_000), size(2_140_000_000)], ["1.0 kB", "310.0 MB", "2.1 GB"]);
    }
}
