//! Training an adapter: its tensors, the windows it learns from, the steps of an optimiser.
//! Which text it learns is the caller's business.

pub(super) mod memory;
pub(super) mod schedule;
pub(super) mod train;
pub(super) mod trainee;
