//! Perfect hashing by hash and displace (Belazzougui, Botelho and Dietzfelbinger 2009): a slot of
//! its own for each key, found through one number per three keys.
//! Stands in for the crate of this name as far as `tokenizers` calls it; that one, made for 10^12
//! keys in files, would be 4 % of the download.
#![deny(missing_docs)]

use std::marker::PhantomData;

/// The ways to hash keys.
pub mod hash {
    /// Not at all: they are hashes already.
    #[derive(Clone, Copy, Debug)]
    pub struct NoHash;
}

/// How a function is built: in one way.
#[derive(Clone, Copy, Debug)]
pub struct PtrHashParams;

impl PtrHashParams {
    /// The one way.
    pub fn default_fast() -> Self {
        Self
    }
}

const KEYS_PER_BUCKET: usize = 3;
/// Far more than chance puts into one of a hundred million buckets.
const MOST_IN_BUCKET: u64 = 64;
/// Odd, its bits as random as the golden ratio's.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A slot below [`max_index`](Self::max_index) for every hash; no two keys have the same.
#[derive(Clone, Debug)]
pub struct FastPtrHash<H, K> {
    /// Per bucket of keys, what sends each of them to a slot of its own.
    pilots: Box<[u16]>,
    slots: usize,
    /// Where keys are as unlucky as somebody chose them, buckets are dealt out anew.
    seed: u64,
    of: PhantomData<(H, K)>,
}

impl FastPtrHash<hash::NoHash, u64> {
    /// The function of `keys`; equal ones have one slot.
    pub fn new(keys: &[u64], _: PtrHashParams) -> Self {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let slots = keys.len() + keys.len() / 4;
        let mut seed = 0;
        loop {
            let mixed: Vec<u64> = keys.iter().map(|&key| mix(key, seed)).collect();
            if let Some(pilots) = find_pilots(&mixed, slots) {
                return Self { pilots, slots, seed, of: PhantomData };
            }
            // Of all keys, so that none can be chosen with it in mind.
            seed = keys.iter().fold(seed + 1, |seed, &key| mix(key, seed));
        }
    }

    /// The number of slots, a quarter more than keys.
    pub fn max_index(&self) -> usize {
        self.slots
    }

    /// The slot of a key; of another hash, some slot.
    #[inline]
    pub fn index(&self, hash: &u64) -> usize {
        let mixed = mix(*hash, self.seed);
        slot(mixed, self.pilots[bucket(mixed, self.pilots.len())], self.slots)
    }
}

/// One of all numbers for each of them.
#[inline]
fn mix(hash: u64, seed: u64) -> u64 {
    let product = (hash ^ seed).wrapping_mul(MIX);
    product ^ product >> 32
}

/// Scales a number of 32 bits to below `len`.
#[inline]
fn reduce(x: u64, len: usize) -> usize {
    ((x * len as u64) >> 32) as usize
}

#[inline]
fn bucket(hash: u64, buckets: usize) -> usize {
    reduce(hash >> 32, buckets)
}

/// Depends on the lower half above all: who compares upper halves to tell a key from another hash
/// has the slot as a second sign.
#[inline]
fn slot(hash: u64, pilot: u16, slots: usize) -> usize {
    reduce((hash ^ u64::from(pilot).wrapping_mul(MIX)).wrapping_mul(MIX) >> 32, slots)
}

/// Large buckets first, while there is room.
fn find_pilots(keys: &[u64], slots: usize) -> Option<Box<[u16]>> {
    let buckets = keys.len() / KEYS_PER_BUCKET + 1;
    let mut starts = vec![0; buckets + 1];
    for &key in keys {
        starts[bucket(key, buckets) + 1] += 1;
    }
    let mut largest_first: Vec<u64> = (0..buckets).map(|b| (starts[b + 1] as u64) << 32 | b as u64).collect();
    largest_first.sort_unstable();
    if largest_first.last().is_some_and(|packed| packed >> 32 > MOST_IN_BUCKET) {
        return None;
    }
    for b in 0..buckets {
        starts[b + 1] += starts[b];
    }
    let mut ends = starts.clone();
    let mut by_bucket = vec![0; keys.len()];
    for &key in keys {
        let end = &mut ends[bucket(key, buckets)];
        by_bucket[*end] = key;
        *end += 1;
    }

    let mut pilots = vec![0; buckets].into_boxed_slice();
    let mut taken = vec![false; slots];
    for b in largest_first.into_iter().rev().map(|packed| packed as u32 as usize) {
        let members = &by_bucket[starts[b]..starts[b + 1]];
        pilots[b] = (0..=u16::MAX).find(|&pilot| take(members, pilot, &mut taken))?;
    }
    Some(pilots)
}

/// Takes a slot for each of a bucket's keys, or none.
fn take(members: &[u64], pilot: u16, taken: &mut [bool]) -> bool {
    for (k, &key) in members.iter().enumerate() {
        let wanted = slot(key, pilot, taken.len());
        if taken[wanted] {
            for &key in &members[..k] {
                taken[slot(key, pilot, taken.len())] = false;
            }
            return false;
        }
        taken[wanted] = true;
    }
    true
}
