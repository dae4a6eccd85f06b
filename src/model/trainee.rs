//! The adapter that is trained.
//! Not the tensors that its training needs: those are `training`'s.

use super::methods::Variant;
use super::trained::TrainedSite;

/// The adapter that is trained: which of the bank's numbers have gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trainee {
    /// Where it acts, in the order of sites.
    pub(crate) sites: Vec<TrainedSite>,
    /// Whether the inputs of its A lose elements at random.
    pub(crate) dropout: bool,
    /// What of it is trained.
    pub(crate) variant: Variant,
    /// `W`: most tokens of a window it learns from.
    pub(crate) window: usize,
    /// Most rows of a run: at least those of a window, if its activations stay in place.
    pub(crate) tile: usize,
    pub(crate) keep: Keep,
}

/// What of a window's activations is there on the way back, which computes the rest once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Each layer's input.
    Inputs,
    /// What costs most to compute, too: copies by position.
    Copies,
    /// The same where it was made, row by row: the window is one run.
    InPlace,
}

impl Trainee {
    /// Rows of the plan that takes a step of the optimiser.
    pub(crate) fn update_rows(&self) -> usize {
        self.variant.method().update_rows(self.most_ranks())
    }

    /// The most ranks of a part.
    pub(super) fn most_ranks(&self) -> usize {
        self.sites.iter().flat_map(|site| site.parts).max().unwrap_or(0)
    }

    /// The trained site of this index, and its place among them.
    pub(crate) fn at(&self, site: usize) -> Option<(usize, &TrainedSite)> {
        self.sites.iter().enumerate().find(|(_, trained)| trained.site == site)
    }
}
