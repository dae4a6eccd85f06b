//! Which tokens' keys and values lie in which slot of the cache.
//!
//! A slot's entries are reused only for the tokens that made them, from the first on.

use crate::error::{Error, Result};

#[derive(Debug, Default)]
struct Slot {
    /// Tokens whose keys and values are valid, from position 0.
    tokens: Vec<u32>,
    busy: bool,
    /// When it was last released; larger is later.
    released: u64,
}

/// The slots of an engine.
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    clock: u64,
}

impl Slots {
    /// `n` free, empty slots.
    pub fn new(n: usize) -> Self {
        Self { slots: (0..n).map(|_| Slot::default()).collect(), clock: 0 }
    }

    /// Takes the free slot that remembers most of `prompt`, the least recently used of equals,
    /// and says how many leading tokens can be reused. The last token never is: it has to run
    /// to give logits.
    ///
    /// Errors with `Argument` if every slot is taken.
    pub fn acquire(&mut self, prompt: &[u32]) -> Result<(usize, usize)> {
        let n = self.slots.len();
        let free = self.slots.iter_mut().enumerate().filter(|(_, slot)| !slot.busy);
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let (index, slot) = free
            .max_by_key(|(_, slot)| (common(&slot.tokens, usable), std::cmp::Reverse(slot.released)))
            .ok_or_else(|| {
                Error::argument(format!("all {n} sequences of this engine are generating; raise `batch`"))
            })?;
        let reused = common(&slot.tokens, usable);
        slot.busy = true;
        // From here on the slot changes; what it holds is known again when it is released.
        slot.tokens.clear();
        Ok((index, reused))
    }

    /// Gives a slot back, holding the keys and values of `tokens`.
    pub fn release(&mut self, index: usize, tokens: &[u32]) {
        self.clock += 1;
        self.slots[index] = Slot { tokens: tokens.to_vec(), busy: false, released: self.clock };
    }
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_reused_but_for_the_last_token() {
        let mut slots = Slots::new(2);
        let (a, _) = slots.acquire(&[1, 2, 3]).unwrap();
        let (b, _) = slots.acquire(&[1, 9]).unwrap();
        assert_ne!(a, b);
        assert!(slots.acquire(&[1]).unwrap_err().to_string().contains("all 2 sequences"));
        slots.release(a, &[1, 2, 3]);
        slots.release(b, &[1, 9, 9, 9]);
        assert_eq!(slots.acquire(&[1, 2, 3]).unwrap(), (a, 2));
        slots.release(a, &[1, 2, 3]);
        assert_eq!(slots.acquire(&[1, 2, 3, 4]).unwrap(), (a, 3));
        assert_eq!(slots.acquire(&[1, 2, 3, 4]).unwrap(), (b, 1));
    }

    #[test]
    fn an_abandoned_slot_is_not_reused() {
        let mut slots = Slots::new(1);
        let (a, _) = slots.acquire(&[1, 2]).unwrap();
        slots.release(a, &[1, 2]);
        let (a, _) = slots.acquire(&[1, 2, 3]).unwrap();
        slots.release(a, &[]);
        assert_eq!(slots.acquire(&[1, 2, 3]).unwrap(), (a, 0));
    }
}
