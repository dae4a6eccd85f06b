//! Which tokens' keys and values lie in which slot of the cache.
//!
//! A slot's entries are reused only for the tokens and the mix of adapters that made them, from
//! the first token on.

use crate::error::{Error, Result};

use crate::engine::adapters::loaded::MixKey;

#[derive(Debug, Default)]
struct Slot {
    /// Tokens whose keys and values are valid, from position 0.
    tokens: Vec<u32>,
    /// The adapters, their versions and weights, under which they were computed.
    mix: MixKey,
    busy: bool,
    /// When it was last released; larger is later.
    released: u64,
}

/// The slots of an engine.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    clock: u64,
}

impl Slots {
    /// `n` free, empty slots.
    pub(super) fn new(n: usize) -> Self {
        Self { slots: (0..n).map(|_| Slot::default()).collect(), clock: 0 }
    }

    /// Takes the free slot that remembers most of `prompt` under `mix`, the least recently used of equals,
    /// and says how many leading tokens can be reused. The last token never is: it has to run
    /// to give logits.
    ///
    /// Errors with `Argument` if every slot is taken.
    pub(super) fn acquire(&mut self, prompt: &[u32], mix: &MixKey) -> Result<(usize, usize)> {
        let n = self.slots.len();
        let free = self.slots.iter_mut().enumerate().filter(|(_, slot)| !slot.busy);
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let common = |slot: &Slot| if slot.mix == *mix { common(&slot.tokens, usable) } else { 0 };
        let (index, slot) =
            free.max_by_key(|(_, slot)| (common(slot), std::cmp::Reverse(slot.released))).ok_or_else(
                || Error::argument(format!("all {n} sequences of this engine are generating; raise `batch`")),
            )?;
        let reused = common(slot);
        slot.busy = true;
        // From here on the slot changes; what it holds is known again when it is released.
        slot.tokens.clear();
        Ok((index, reused))
    }

    /// Whether any slot is taken.
    pub(super) fn any_busy(&self) -> bool {
        self.slots.iter().any(|slot| slot.busy)
    }

    /// Holds nothing any more; who has a slot keeps it.
    pub(super) fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.tokens.clear());
    }

    /// Gives a slot back, holding the keys and values of `tokens` under `mix`.
    pub(super) fn release(&mut self, index: usize, tokens: &[u32], mix: MixKey) {
        self.clock += 1;
        self.slots[index] = Slot { tokens: tokens.to_vec(), mix, busy: false, released: self.clock };
    }
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &mut Slots, prompt: &[u32]) -> (usize, usize) {
        slots.acquire(prompt, &MixKey::new()).expect("a free slot")
    }

    fn give(slots: &mut Slots, index: usize, tokens: &[u32]) {
        slots.release(index, tokens, MixKey::new());
    }

    #[test]
    fn the_longest_prefix_is_reused_but_for_the_last_token() {
        let mut slots = Slots::new(2);
        let (a, _) = take(&mut slots, &[1, 2, 3]);
        let (b, _) = take(&mut slots, &[1, 9]);
        assert_ne!(a, b);
        let error = slots.acquire(&[1], &MixKey::new()).expect_err("both are taken");
        assert!(error.to_string().contains("all 2 sequences"));
        give(&mut slots, a, &[1, 2, 3]);
        give(&mut slots, b, &[1, 9, 9, 9]);
        assert_eq!(take(&mut slots, &[1, 2, 3]), (a, 2));
        give(&mut slots, a, &[1, 2, 3]);
        assert_eq!(take(&mut slots, &[1, 2, 3, 4]), (a, 3));
        assert_eq!(take(&mut slots, &[1, 2, 3, 4]), (b, 1));
    }

    #[test]
    fn an_abandoned_slot_is_not_reused() {
        let mut slots = Slots::new(1);
        let (a, _) = take(&mut slots, &[1, 2]);
        give(&mut slots, a, &[1, 2]);
        let (a, _) = take(&mut slots, &[1, 2, 3]);
        give(&mut slots, a, &[]);
        assert_eq!(take(&mut slots, &[1, 2, 3]), (a, 0));
    }

    #[test]
    fn another_mix_reuses_nothing() {
        let mut slots = Slots::new(1);
        let one = |weight: f32| vec![(7, weight.to_bits())];
        let (a, _) = slots.acquire(&[1, 2, 3], &one(0.5)).expect("free");
        slots.release(a, &[1, 2, 3], one(0.5));
        for other in [MixKey::new(), one(0.25), vec![(8, 0.5f32.to_bits())]] {
            assert_eq!(slots.acquire(&[1, 2, 3], &other).expect("free").1, 0, "{other:?}");
            slots.release(a, &[1, 2, 3], one(0.5));
        }
        assert_eq!(slots.acquire(&[1, 2, 3], &one(0.5)).expect("free").1, 2);
    }
}
