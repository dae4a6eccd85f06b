//! A site that is trained: its ranks, its core if it has one, and where its gradients and moments lie.
//! Not what is done with them, which is a method's.

use crate::plan::TensorId;

use super::sites::PartRanks;

/// A site that an adapter is trained at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrainedSite {
    /// Index among the bank's.
    pub(crate) site: usize,
    /// Its first rank in the site's layout.
    pub(crate) first: usize,
    /// Its ranks at each part, with those that fill up a step of the bank; 0 where it does not act.
    pub(crate) parts: PartRanks,
}

impl TrainedSite {
    /// Parts it acts on.
    pub(super) fn trained_parts(&self) -> impl Iterator<Item = usize> {
        let parts = self.parts;
        (0..parts.len()).filter(move |&part| parts[part] > 0)
    }
}

/// The core of one part of a site (LoRA-XS, arXiv:2405.17604): the bank's A is R · A₀, of which R alone
/// is trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core {
    /// R (count, count)
    pub r: TensorId,
    /// A₀ (count, C)
    pub a: TensorId,
}

/// Where gradients and moments of one site lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    /// In which arena.
    pub(super) arena: usize,
    /// The first elements of its two gradients there, whose shapes are the method's.
    pub(super) first: [usize; 2],
    /// What is trained of each part in the place of A and B, if it is.
    pub(crate) cores: [Core; 3],
}
