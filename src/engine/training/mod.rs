//! Training an adapter: its tensors, the windows it learns from, the steps of an optimiser.
//! Which text it learns is the caller's business.

pub(super) mod memory;
pub(super) mod optimizer;
pub(super) mod schedule;
pub(super) mod train;
pub(super) mod trainee;

use crate::plan::TensorId;

use optimizer::Optimizer;

/// How the adapter that is being trained moves. Which one that is, `Adapters` knows.
#[derive(Debug, Default)]
pub(crate) struct Trainer {
    optimizer: Optimizer,
    /// Steps finished.
    steps: u32,
    /// The optimiser's moments as the last finished step left them; none before the first.
    moments: Vec<(TensorId, Vec<u32>)>,
}

impl Trainer {
    /// Steps that the adapter has finished since its training began; 0 if none is trained.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }
}
