//! What of a model cached keys and values depend on, each as one number: its weights, and its rotations.
//! Not the cache, nor the adapters beside it.

use crate::format::digest::Digest;

use super::Model;

impl Model {
    /// Of the architecture and all weights as they came and are held; what is merged into them does not count.
    pub(crate) fn identity(&self) -> String {
        let mut digest = Digest::of("model");
        digest.add_bytes(format!("{:?}", self.config).as_bytes());
        digest.add(self.weights.digest);
        digest.hex()
    }

    /// Of the angles by which the first `n` positions are rotated: some scalings depend on the context.
    pub(crate) fn rotation(&self, n: usize) -> String {
        let mut digest = Digest::of("rotation");
        for (_, table) in self.constants() {
            digest.add_floats(&table[..n * self.config.rotary_dim]);
        }
        digest.hex()
    }
}
