//! Training an adapter: what it learns, in which order and at which rates, and the steps of an optimiser.
//! Not an adapter's own kind, nor what a step computes: those are plans of the model.

mod checkpoint;
pub(super) mod dataset;
mod item;
pub(super) mod memory;
mod messages;
pub(super) mod optimizer;
pub(super) mod options;
mod order;
pub(super) mod program;
pub(super) mod schedule;
pub(super) mod train;
pub(super) mod trainee;
pub(super) mod windows;

use crate::error::{Error, Result};
use crate::plan::TensorId;

use optimizer::Optimizer;

/// Whoever trains: the one place that knows whether an adapter is being trained, and which.
#[derive(Debug, Default)]
pub(crate) struct Trainer {
    trained: Option<Trained>,
}

/// An adapter that is being trained.
#[derive(Debug)]
struct Trained {
    name: String,
    optimizer: Optimizer,
    /// Steps finished.
    steps: u32,
    /// The optimiser's moments as the last finished step left them; none before the first.
    moments: Vec<(TensorId, Vec<u32>)>,
}

impl Trainer {
    /// The adapter that is being trained.
    pub(crate) fn name(&self) -> Option<&str> {
        self.trained.as_ref().map(|trained| trained.name.as_str())
    }

    /// Steps that it has finished; 0 if none is trained.
    pub(crate) fn steps(&self) -> u32 {
        self.trained.as_ref().map_or(0, |trained| trained.steps)
    }

    /// Errors with `Argument` if any adapter is being trained.
    pub(crate) fn check_idle(&self) -> Result<()> {
        self.name().map_or(Ok(()), |name| self.check_untrained(name))
    }

    /// Errors with `Argument` if adapter `name` is being trained.
    pub(crate) fn check_untrained(&self, name: &str) -> Result<()> {
        if self.name() == Some(name) {
            return Err(Error::argument(format!("adapter `{name}` is being trained, end that first")));
        }
        Ok(())
    }

    fn trained(&self) -> Result<&Trained> {
        self.trained.as_ref().ok_or_else(|| Error::argument("no adapter is being trained"))
    }

    fn trained_mut(&mut self) -> Result<&mut Trained> {
        self.trained.as_mut().ok_or_else(|| Error::argument("no adapter is being trained"))
    }
}
