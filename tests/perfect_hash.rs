//! The perfect hash that tokenizers look tokens and merges up by.

use std::collections::HashSet;

use ptr_hash::hash::NoHash;
use ptr_hash::{FastPtrHash, PtrHashParams};
use wasm_bindgen_test::wasm_bindgen_test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

fn build(keys: &[u64]) -> FastPtrHash<NoHash, u64> {
    FastPtrHash::new(keys, PtrHashParams::default_fast())
}

/// Hashes as tokens of a few bytes have them: a number times an odd constant.
fn hashes(n: u64) -> Vec<u64> {
    (0..n).map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)).map(|h| h ^ h >> 29).collect()
}

fn assert_each_its_own(keys: &[u64]) {
    let hash = build(keys);
    let slots: HashSet<usize> = keys.iter().map(|key| hash.index(key)).collect();
    assert_eq!(slots.len(), keys.len());
    assert!(slots.into_iter().all(|slot| slot < hash.max_index()));
}

#[wasm_bindgen_test(unsupported = test)]
fn every_key_has_a_slot_of_its_own() {
    for n in [0, 1, 2, 3, 4, 5, 7, 100, 4_096, 150_000] {
        let keys = hashes(n);
        assert_each_its_own(&keys);
        assert_eq!(build(&keys).max_index(), keys.len() + keys.len() / 4);
    }
}

/// Neighbours, and all in one bucket.
#[wasm_bindgen_test(unsupported = test)]
fn keys_chosen_to_be_unlucky_have_theirs_too() {
    assert_each_its_own(&(0..200).collect::<Vec<u64>>());
    assert_each_its_own(&(0..200).map(|k| k << 32).collect::<Vec<u64>>());
    assert_each_its_own(&(0..64).map(|k| 1 << k).collect::<Vec<u64>>());
    // The inverse of the odd constant, by Newton's iteration, makes hashes of equal upper halves.
    let odd = 0x9e37_79b9_7f4a_7c15u64;
    let inverse = (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))));
    assert_eq!(odd.wrapping_mul(inverse), 1);
    let one_bucket: Vec<u64> = (0..30_000).map(|low: u64| low.wrapping_mul(inverse)).collect();
    assert_each_its_own(&one_bucket);
    assert_eq!(build(&[7, 7, 9]).max_index(), 2);
}

/// Who compares upper halves takes another hash for a key only where the slot is the same too.
#[wasm_bindgen_test(unsupported = test)]
fn a_hash_with_the_upper_half_of_a_key_has_another_slot() {
    let keys = hashes(10_000);
    let hash = build(&keys);
    let same = keys.iter().filter(|&&key| hash.index(&(key ^ 0x5bd1_e995)) == hash.index(&key)).count();
    assert!(same < 10, "{same} of {}", keys.len());
}

#[wasm_bindgen_test(unsupported = test)]
fn another_hash_has_some_slot() {
    let hash = build(&hashes(1_000));
    assert!([0, 1, u64::MAX, 1 << 63].into_iter().all(|other| hash.index(&other) < hash.max_index()));
    assert_eq!(build(&[]).index(&7), 0);
}
