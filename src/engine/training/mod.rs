//! Training an adapter: what it learns, in which order and at which rates, and the steps of an optimiser.
//! Not an adapter's own kind, nor what a step computes: those are plans of the model.

mod checkpoint;
pub(super) mod dataset;
mod item;
pub(super) mod memory;
mod messages;
pub(super) mod options;
mod order;
pub(super) mod program;
pub(super) mod schedule;
pub(super) mod train;
pub(super) mod trainee;
pub(super) mod windows;
