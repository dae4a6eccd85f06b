//! Training an adapter: what it learns, in which order and at which rates, and the steps of an optimiser.
//! Not an adapter's own kind, nor what a step computes: those are plans of the model.

mod checkpoint;
mod copy;
pub(super) mod dataset;
mod item;
pub(super) mod memory;
mod messages;
pub(super) mod optimizer;
pub(super) mod options;
mod order;
pub(super) mod program;
pub(super) mod schedule;
mod slices;
pub(super) mod train;
pub(super) mod trainee;
pub(super) mod windows;

use crate::plan::TensorId;

use copy::Taken;
use optimizer::Optimizer;

/// How the adapter that is being trained moves. Which one that is, `Adapters` knows.
#[derive(Debug, Default)]
pub(crate) struct Trainer {
    optimizer: Optimizer,
    /// Steps finished.
    steps: u32,
    /// The optimiser's moments as the host's copy of the adapter has them; none before the first.
    moments: Vec<(TensorId, Vec<u32>)>,
    /// Steps finished since that copy was made.
    since: Vec<Taken>,
}

impl Trainer {
    /// Steps that the adapter has finished since its training began; 0 if none is trained.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }
}
