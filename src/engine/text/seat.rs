//! What a sequence occupies while it runs: a slot of the cache and a line of the mixes.

use std::ops::Range;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::Chosen;
use crate::engine::adapters::loaded::MixKey;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::error::{Error, Result};
use crate::plan::Row;

/// A slot and a line, taken together and given back together.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Of the cache.
    pub(crate) slot: usize,
    /// P: virtual tokens in front of the text.
    pub(crate) lead: usize,
    /// Of those, how many have given keys and values.
    pub(crate) given: usize,
    /// Line of the `mixes` tensor.
    mix: usize,
    mix_key: MixKey,
    /// The device on which what was computed here lies, by number.
    device: u64,
}

impl Seat {
    /// The row that computes `token` at `pos` here.
    pub(crate) fn row(&self, token: u32, pos: usize) -> Row {
        Row { token, pos: pos as u32, slot: self.slot as u32, mix: self.mix as u32 }
    }

    /// The rows of a range of `tokens`.
    pub(crate) fn rows(&self, tokens: &[u32], range: Range<usize>) -> Vec<Row> {
        range.map(|pos| self.row(tokens[pos], pos)).collect()
    }

    /// Under what the cache may remember what is computed here.
    pub(crate) fn mix_key(&self) -> &MixKey {
        &self.mix_key
    }

    /// Errors with `Device` if another device has taken the place of its own: what was computed is gone.
    pub(crate) fn check_device(&self, runner: &Runner) -> Result<()> {
        if self.device == runner.device() {
            return Ok(());
        }
        Err(Error::device("the device was lost, and what it had computed of the text: begin again"))
    }

    /// Makes it usable on a device that took the place of its own. Returns whether it has: what
    /// was computed is gone then, but for what is given.
    pub(crate) fn renew(&mut self, runner: &mut Runner, adapters: &Adapters) -> bool {
        let is_new = self.device != runner.device();
        if is_new {
            adapters.write_prefix(runner, self.slot, self.mix, 0);
            self.device = runner.device();
        }
        is_new
    }
}

impl Texts {
    /// Takes the slot that remembers most of a text under a choice of adapters. Returns with it the
    /// tokens, virtual ones first, and how many of them can be reused.
    ///
    /// Errors with `Argument` if every slot is taken, or every line of the mixes.
    pub(crate) fn take_seat(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        chosen: &Chosen,
    ) -> Result<(Seat, Vec<u32>, usize)> {
        let tokens = [&chosen.lead[..], ids].concat();
        let mix = adapters.acquire_mix(runner, chosen)?;
        let (slot, reused) = match self.slots.acquire(&tokens, &chosen.cache_key) {
            Ok(slot) => slot,
            Err(e) => {
                adapters.release_mix(mix);
                return Err(e);
            }
        };
        let given = adapters.write_prefix(runner, slot, mix, reused);
        let (lead, mix_key, device) = (chosen.lead.len(), chosen.cache_key.clone(), runner.device());
        Ok((Seat { slot, lead, given, mix, mix_key, device }, tokens, reused.max(given)))
    }

    /// A seat for `ids`, whose tokens are to be computed anew.
    ///
    /// Errors as [`take_seat`](Self::take_seat), and with `Argument` for no token, more than the context has
    /// room for, or one that the vocabulary does not have.
    pub(crate) fn take_seat_anew(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        chosen: &Chosen,
    ) -> Result<(Seat, Vec<u32>)> {
        let context = runner.model().context() - chosen.lead.len();
        if ids.is_empty() || ids.len() > context {
            return Err(Error::argument(format!(
                "{} tokens, expected 1 to {context}, the context",
                ids.len()
            )));
        }
        runner.model().check_ids(ids)?;
        let (seat, tokens, _) = self.take_seat(runner, adapters, ids, chosen)?;
        Ok((seat, tokens))
    }

    /// Moves a text to a seat under another choice of adapters: its `tokens` from the `lead` on go on there, and the
    /// cache remembers the first `filled` as they were. Returns the tokens, virtual ones first, and how many can be
    /// reused.
    ///
    /// Errors with `Argument` if every line of the mixes is taken: it stays where it is.
    pub(crate) fn change_seat(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        seat: &mut Seat,
        (tokens, filled): (&[u32], usize),
        chosen: &Chosen,
    ) -> Result<(Vec<u32>, usize)> {
        let mix = adapters.acquire_mix(runner, chosen)?; // before its own is let go: with that there is always a slot
        let kept = if seat.device == runner.device() { &tokens[..filled] } else { &[] };
        self.slots.release(seat.slot, kept, seat.mix_key.clone());
        let taken = self.take_seat(runner, adapters, &tokens[seat.lead..], chosen);
        adapters.release_mix(mix);
        let (new, tokens, reused) = taken?;
        adapters.release_mix(std::mem::replace(seat, new).mix);
        Ok((tokens, reused))
    }

    /// Gives a seat back, its slot holding the keys and values of `tokens`.
    pub(crate) fn leave_seat(
        &mut self,
        runner: &Runner,
        adapters: &mut Adapters,
        seat: Seat,
        tokens: &[u32],
    ) {
        let tokens = if seat.device == runner.device() { tokens } else { &[] };
        self.slots.release(seat.slot, tokens, seat.mix_key);
        adapters.release_mix(seat.mix);
    }
}
