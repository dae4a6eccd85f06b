//! Byte-pair encoding: characters become tokens, and pairs of tokens others, by rank.
//! Not aware of bytes: a byte-level text comes in GPT-2's alphabet, a character for a byte.
//!
//! Followed from `tokenizers` 0.23, to the order in which unknown characters and bytes come out.

use super::strings::{hash, mix};
use super::vocabulary::Vocabulary;
use super::{broken, file::Model};
use crate::error::Result;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No token, no rank, no neighbour.
const NONE: u32 = u32::MAX;

/// Characters whose tokens are in a table, GPT-2's alphabet among them.
const TABLE: usize = 0x180;

/// Up to here a word's best pair is looked for, above it is kept in a heap.
const SHORT: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Bpe {
    /// Token of a character, of those up to `TABLE`.
    chars: Vec<u32>,
    /// Tokens of bytes, if they stand in for characters.
    bytes: Option<Vec<u32>>,
    unknown: Option<Option<u32>>,
    fuse_unknown: bool,
    ignore_merges: bool,
    /// Whether no merge reaches over the front of a run of SentencePiece's spaces.
    stops_at_spaces: bool,
    /// Open addressing; a free slot has `NONE` first.
    merges: Vec<Merge>,
}

#[derive(Clone, Copy, Debug)]
struct Merge {
    pair: (u32, u32),
    rank: u32,
    made: u32,
}

const FREE: Merge = Merge { pair: (NONE, NONE), rank: NONE, made: NONE };

/// A token in a word. `at`, `next` and `before` are positions of symbols.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    before: u32,
    next: u32,
    /// What it makes with the next one.
    rank: u32,
    made: u32,
}

impl Bpe {
    /// Errors with `Format` if a merge names or makes a token that is not there.
    pub(super) fn new(model: &Model, vocabulary: &Vocabulary) -> Result<Self> {
        let mut merges = vec![FREE; (model.merges.len() * 3 / 2 + 2).next_power_of_two()];
        let mut made = String::new();
        let mut stops_at_spaces = vocabulary.model_id("▁").is_some();
        for (rank, (a, b)) in (0..).zip(model.merges.iter()) {
            made.clear();
            made.push_str(a);
            made.push_str(b);
            stops_at_spaces &= !made.trim_start_matches('▁').contains('▁');
            let id = |token: &str| {
                let missing = || broken(format!("merge of `{a}` and `{b}`: no token `{token}`"));
                vocabulary.model_id(token).ok_or_else(missing)
            };
            let merge = Merge { pair: (id(a)?, id(b)?), rank, made: id(&made)? };
            let slot = slot(&merges, merge.pair);
            merges[slot] = merge;
        }
        let mut utf8 = [0; 4];
        let mut token = |c: char| vocabulary.model_id(c.encode_utf8(&mut utf8)).unwrap_or(NONE);
        let chars = (0..TABLE as u32).filter_map(char::from_u32).map(&mut token).collect();
        let byte = |byte: u8| vocabulary.model_id(&format!("<0x{byte:02X}>")).unwrap_or(NONE);
        Ok(Self {
            chars,
            bytes: model.byte_fallback.unwrap_or_default().then(|| (0..=255).map(byte).collect()),
            unknown: model.unk_token.as_deref().map(|token| vocabulary.model_id(token)),
            fuse_unknown: model.fuse_unk.unwrap_or_default(),
            ignore_merges: model.ignore_merges.unwrap_or_default(),
            stops_at_spaces,
            merges,
        })
    }

    /// Whether the ids of a text are those of its words, each with the spaces (`▁`) before it.
    pub(super) fn goes_by_words(&self) -> bool {
        self.stops_at_spaces && !self.ignore_merges
    }

    /// Appends the ids of a piece.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, piece: &str, ids: &mut Vec<u32>) -> Result<()> {
        if self.ignore_merges
            && let Some(id) = vocabulary.model_id(piece)
        {
            ids.push(id);
            return Ok(());
        }
        let start = ids.len();
        self.characters(vocabulary, piece, ids)?;
        match ids.len() - start {
            0 | 1 => {}
            2..=SHORT => self.merge_short(start, ids),
            _ => self.merge_long(start, ids),
        }
        Ok(())
    }

    fn characters(&self, vocabulary: &Vocabulary, piece: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut utf8 = [0; 4];
        let mut open = None;
        for c in piece.chars() {
            let known = match self.chars.get(c as usize) {
                Some(&id) => id,
                None => vocabulary.model_id(c.encode_utf8(&mut utf8)).unwrap_or(NONE),
            };
            if known != NONE {
                ids.extend(open.take());
                ids.push(known);
                continue;
            }
            // An unknown character that waits still does: bytes come before it.
            if let Some(bytes) = &self.bytes {
                let of_char = c.encode_utf8(&mut utf8).bytes().map(|byte| bytes[byte as usize]);
                if of_char.clone().all(|id| id != NONE) {
                    ids.extend(of_char);
                    continue;
                }
            }
            if let Some(unknown) = self.unknown {
                let id = unknown.ok_or_else(|| broken("the unknown token is not in the vocabulary"))?;
                if !self.fuse_unknown {
                    ids.extend(open.take());
                }
                open = Some(id);
            }
        }
        ids.extend(open);
        Ok(())
    }

    fn merge(&self, a: u32, b: u32) -> (u32, u32) {
        let merge = self.merges[slot(&self.merges, (a, b))];
        (merge.rank, merge.made)
    }

    fn merge_short(&self, start: usize, ids: &mut Vec<u32>) {
        let word = &mut ids[start..];
        let mut len = word.len();
        let mut pairs = [(NONE, NONE); SHORT];
        for at in 0..len - 1 {
            pairs[at] = self.merge(word[at], word[at + 1]);
        }
        loop {
            let best = (0..len - 1).min_by_key(|&at| pairs[at].0);
            let Some(at) = best.filter(|&at| pairs[at].0 != NONE) else { break };
            word[at] = pairs[at].1;
            word.copy_within(at + 2..len, at + 1);
            pairs.copy_within(at + 1..len - 1, at);
            len -= 1;
            pairs[len - 1] = (NONE, NONE);
            if at + 1 < len {
                pairs[at] = self.merge(word[at], word[at + 1]);
            }
            if at > 0 {
                pairs[at - 1] = self.merge(word[at - 1], word[at]);
            }
        }
        ids.truncate(start + len);
    }

    fn merge_long(&self, start: usize, ids: &mut Vec<u32>) {
        let word = &ids[start..];
        let mut symbols: Vec<Symbol> = Vec::with_capacity(word.len());
        let mut heap = BinaryHeap::with_capacity(word.len());
        for (at, &id) in (0u32..).zip(word) {
            let next = word.get(at as usize + 1);
            let (rank, made) = next.map_or((NONE, NONE), |&next| self.merge(id, next));
            let next = if next.is_some() { at + 1 } else { NONE };
            symbols.push(Symbol { id, before: at.wrapping_sub(1), next, rank, made });
            if rank != NONE {
                heap.push(Reverse((rank, at)));
            }
        }
        while let Some(Reverse((rank, at))) = heap.pop() {
            let symbol = symbols[at as usize];
            if symbol.rank != rank {
                continue;
            }
            let next = symbols[symbol.next as usize];
            symbols[symbol.next as usize].rank = NONE;
            symbols[at as usize].id = symbol.made;
            symbols[at as usize].next = next.next;
            if next.next != NONE {
                symbols[next.next as usize].before = at;
            }
            for at in [symbol.before, at] {
                if at == NONE {
                    continue;
                }
                let Symbol { id, next, .. } = symbols[at as usize];
                let (rank, made) = match next {
                    NONE => (NONE, NONE),
                    next => self.merge(id, symbols[next as usize].id),
                };
                symbols[at as usize].rank = rank;
                symbols[at as usize].made = made;
                if rank != NONE {
                    heap.push(Reverse((rank, at)));
                }
            }
        }
        ids.truncate(start);
        let mut at = 0;
        while at != NONE {
            ids.push(symbols[at as usize].id);
            at = symbols[at as usize].next;
        }
    }
}

/// Where a pair is, or would be.
fn slot(merges: &[Merge], pair: (u32, u32)) -> usize {
    let mask = merges.len() - 1;
    let mut slot = mix(u64::from(pair.0) << 32 | u64::from(pair.1)) as usize & mask;
    while merges[slot].rank != NONE && merges[slot].pair != pair {
        slot = (slot + 1) & mask;
    }
    slot
}

/// What words of one text became, the latest of those that share a place.
pub(super) struct Seen {
    /// Of a word in the text, and of its ids: start and length.
    slots: Vec<[u32; 4]>,
}

impl Seen {
    pub(super) fn with_room(words: usize) -> Self {
        Self { slots: vec![[0; 4]; words.clamp(1, 1 << 14).next_power_of_two()] }
    }

    /// Appends the ids of a word, which `encode` gives if they are not known.
    pub(super) fn encode(
        &mut self,
        text: &str,
        (start, end): (usize, usize),
        ids: &mut Vec<u32>,
        encode: impl Fn(&str, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        let word = text.get(start..end).unwrap_or_default();
        let slot = hash(word.as_bytes()) as usize & (self.slots.len() - 1);
        let [seen, len, first, count] = self.slots[slot].map(|n| n as usize);
        if len == word.len() && text.get(seen..seen + len) == Some(word) {
            ids.extend_from_within(first..first + count);
            return Ok(());
        }
        let first = ids.len();
        encode(word, ids)?;
        self.slots[slot] = [start, end - start, first, ids.len() - first].map(|n| n as u32);
        Ok(())
    }
}
