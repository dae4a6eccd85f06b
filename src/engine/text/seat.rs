//! What a sequence occupies while it runs: a slot of the cache and a line of the mixes.

use crate::error::Result;
use crate::plan::Row;

use crate::engine::Engine;
use crate::engine::adapters::loaded::{Choice, MixKey};
use crate::engine::adapters::merged::Merged;

/// A slot and a line, taken together and given back together.
#[derive(Debug)]
pub struct Seat {
    /// Of the cache.
    pub slot: usize,
    /// P: virtual tokens in front of the text.
    pub lead: usize,
    /// Of those, how many have given keys and values.
    pub given: usize,
    /// Line of the `mixes` tensor.
    mix: usize,
    mix_key: MixKey,
    /// The device on which what was computed here lies, by number.
    device: u64,
}

impl Seat {
    /// The row that computes `token` at `pos` here.
    pub fn row(&self, token: u32, pos: usize) -> Row {
        Row { token, pos: pos as u32, slot: self.slot as u32, mix: self.mix as u32 }
    }
}

impl Engine {
    /// Takes the slot that remembers most of a text under a choice of adapters (`None` is the
    /// engine's own). Returns with it the tokens, virtual ones first, and how many of them can be
    /// reused.
    ///
    /// Errors with `Argument` if every slot is taken, or the choice is not to be had.
    pub(in crate::engine) fn take_seat(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
    ) -> Result<(Seat, Vec<u32>, usize)> {
        let mut tokens = self.lead_tokens(choice)?;
        let lead = tokens.len();
        tokens.extend(ids);
        let (mix, mut mix_key) = self.acquire_mix(choice)?;
        mix_key.extend(self.adapters.merged.as_ref().map(Merged::key));
        let (slot, reused) = match self.slots.acquire(&tokens, &mix_key) {
            Ok(slot) => slot,
            Err(e) => {
                self.release_mix(mix);
                return Err(e);
            }
        };
        let (given, device) = (self.write_prefix(slot, mix, reused), self.device);
        Ok((Seat { slot, lead, given, mix, mix_key, device }, tokens, reused.max(given)))
    }

    /// Makes a seat usable on a device that took the place of its own. Returns whether it has: what
    /// was computed is gone then, but for what is given.
    pub(in crate::engine) fn renew_seat(&mut self, seat: &mut Seat) -> bool {
        let is_new = seat.device != self.device;
        if is_new {
            self.write_prefix(seat.slot, seat.mix, 0);
            seat.device = self.device;
        }
        is_new
    }

    /// Gives a seat back, its slot holding the keys and values of `tokens`.
    pub(in crate::engine) fn leave_seat(&mut self, seat: Seat, tokens: &[u32]) {
        let tokens = if seat.device == self.device { tokens } else { &[] };
        self.slots.release(seat.slot, tokens, seat.mix_key);
        self.release_mix(seat.mix);
    }
}
