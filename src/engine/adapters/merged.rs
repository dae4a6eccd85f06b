//! What is merged into the base's weights, and the bits that were there before.
//! Not the merging.

use crate::plan::TensorId;

use crate::engine::adapters::loaded::Choice;

/// What the weights hold beside the base.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) choice: Choice,
    /// Never used twice: what was cached under one merge is not valid under another.
    pub(super) version: u32,
    pub(super) originals: Vec<Original>,
}

/// The base's own bits.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) tensor: TensorId,
    pub(super) first: usize,
    pub(super) words: Vec<u32>,
}

impl Merged {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.choice.iter().any(|(merged, _)| merged == name)
    }

    /// The entry of a [`MixKey`](crate::engine::adapters::MixKey) that tells this merge from others;
    /// adapters are counted from 1.
    pub(crate) fn key(&self) -> (u64, u32) {
        (0, self.version)
    }

    /// Puts the base's bits in the place of merged ones among elements of `tensor` from `first`.
    pub(crate) fn unmerge_read(&self, tensor: TensorId, first: usize, words: &mut [u32]) {
        let end = first + words.len();
        for original in self.originals.iter().filter(|original| original.tensor == tensor) {
            let from = first.max(original.first);
            let to = end.min(original.first + original.words.len());
            if from < to {
                words[from - first..to - first]
                    .copy_from_slice(&original.words[from - original.first..to - original.first]);
            }
        }
    }
}
