//! From prompts to text, scores and hidden states: who sits where in the cache, and what a text is made of.
//! No adapter is read or trained here.

pub(super) mod chat;
pub(super) mod constraint;
mod encode;
pub(super) mod generate;
pub(super) mod hidden;
mod hosted;
mod logits;
pub(super) mod logprobs;
mod mixed;
pub(super) mod mixture;
pub(super) mod request;
pub(in crate::engine) mod sampling;
pub(super) mod score;
pub(super) mod seat;
pub(super) mod sequence;
pub(super) mod session;
mod slots;
pub(super) mod stop;

use crate::error::{Error, Result};

use slots::Slots;

/// The texts of an engine: which of them the cache holds, and who computes one.
#[derive(Debug)]
pub(crate) struct Texts {
    slots: Slots,
    /// The number of the next generation.
    next_generation: u64,
}

impl Texts {
    /// None yet, and room for `slots` at once.
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: Slots::new(slots), next_generation: 0 }
    }

    /// Errors with `Argument` while a text is being computed: the weights cannot change under it.
    pub(crate) fn check_idle(&self) -> Result<()> {
        if self.slots.any_busy() {
            return Err(Error::argument("a generation is running, the weights cannot change under it"));
        }
        Ok(())
    }

    /// What the cache holds is gone with its device.
    pub(crate) fn forget(&mut self) {
        self.slots.forget();
    }
}
