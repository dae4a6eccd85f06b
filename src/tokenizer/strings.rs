//! Strings with ids, all in one text: found whole, or as the longest start of another.
//! Not told apart by more than a hash and a look: an id belongs to one string.

use std::cmp::Ordering;
use std::ops::Range;

/// Strings in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    pub(super) fn push(&mut self, string: &str) {
        self.text.push_str(string);
        self.ends.push(self.text.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start as usize..*self.ends.get(at)? as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

/// Where each string stands in a list of them.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Positions plus one; 0 is free. Half of it is, at least.
    slots: Vec<u32>,
}

impl Index {
    pub(super) fn with_room(len: usize) -> Self {
        Self { slots: vec![0; (len * 2 + 1).next_power_of_two()] }
    }

    pub(super) fn get(&self, strings: &Strings, string: &str) -> Option<u32> {
        match self.find(strings, string) {
            (_, 0) => None,
            (_, position) => Some(position - 1),
        }
    }

    /// Adds the string at a position. `false` if it is there already; then the new one is found from now on.
    pub(super) fn add(&mut self, strings: &Strings, position: u32) -> bool {
        let Some(string) = strings.get(position as usize) else { return false };
        let (slot, old) = self.find(strings, string);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = position + 1;
        }
        old == 0
    }

    fn find(&self, strings: &Strings, string: &str) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash(string.as_bytes()) as usize & mask;
        loop {
            match self.slots.get(slot).copied().unwrap_or(0) {
                0 => return (slot, 0),
                taken if strings.get(taken as usize - 1) == Some(string) => return (slot, taken),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// Odd, and of no pattern: 2⁶⁴ by the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut hash = bytes.len() as u64;
    for chunk in &mut chunks {
        hash = mix(hash ^ chunk.try_into().map_or(0, u64::from_le_bytes));
    }
    mix(hash ^ chunks.remainder().iter().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}

pub(super) fn mix(word: u64) -> u64 {
    let wide = u128::from(word ^ MIX) * u128::from(MIX);
    (wide as u64) ^ (wide >> 64) as u64
}

/// Strings sorted by their bytes, to walk along a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted {
    strings: Strings,
    ids: Vec<u32>,
    /// Where those begin that start with a byte.
    of_byte: Vec<u32>,
}

impl Sorted {
    /// Of strings that are the same, the last counts; of empty ones, none.
    pub(super) fn new<'s>(strings: impl Iterator<Item = (&'s str, u32)>) -> Self {
        let mut all: Vec<(&str, u32)> = strings.filter(|(string, _)| !string.is_empty()).collect();
        all.sort_by_key(|&(string, _)| string);
        let mut sorted = Self::default();
        for (at, &(string, id)) in all.iter().enumerate() {
            if all.get(at + 1).is_none_or(|&(next, _)| next != string) {
                sorted.strings.push(string);
                sorted.ids.push(id);
            }
        }
        let first = |string: &str| string.bytes().next().unwrap_or_default();
        let mut at = 0;
        for byte in 0..=256u32 {
            while sorted.strings.get(at).is_some_and(|string| u32::from(first(string)) < byte) {
                at += 1;
            }
            sorted.of_byte.push(at as u32);
        }
        sorted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Every string that the text starts with, the shortest first: its length and its id.
    pub(super) fn starts(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(&byte) = text.first() else { return };
        let at = |byte: usize| self.of_byte.get(byte).map_or(0, |&at| at as usize);
        let Range { mut start, mut end } = at(byte as usize)..at(byte as usize + 1);
        let mut depth = 1;
        while start < end {
            // What ends here comes first among those that start alike.
            let Some(string) = self.strings.get(start) else { return };
            if string.len() == depth {
                found(depth, self.ids.get(start).copied().unwrap_or_default());
                start += 1;
            }
            let Some(&byte) = text.get(depth) else { return };
            start = self.bound(start, end, depth, byte, Ordering::Less);
            end = self.bound(start, end, depth, byte, Ordering::Equal);
            depth += 1;
        }
    }

    /// The first whose byte at this depth compares higher than so.
    fn bound(&self, mut start: usize, mut end: usize, depth: usize, byte: u8, highest: Ordering) -> usize {
        while start < end {
            let middle = start + (end - start) / 2;
            let there = self.strings.get(middle).and_then(|string| string.as_bytes().get(depth));
            if there.is_some_and(|there| there.cmp(&byte) > highest) {
                end = middle
            } else {
                start = middle + 1
            }
        }
        start
    }
}
