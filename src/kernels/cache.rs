//! Keys and values as they lie in the words of a cache, (slots, S, K·D).
//! Which of them are valid is the engine's business.
//!
//! A slot is one row of the cache's type: the codes of all its positions, then their f16. A position has
//! a whole number of words of either, so that no two share one.

use std::ops::Range;

use crate::dtype::{BLOCK, Dtype};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The types that keys and values can be held in.
pub const CACHE_TYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Q8];

/// The largest number of an f16; keys and values beyond are held as this.
const F16_MAX: f32 = 65504.0;

/// The type of keys and values by the name that options use.
///
/// Errors with `Argument` for another.
pub fn cache_type(name: &str) -> Result<Dtype> {
    CACHE_TYPES.into_iter().find(|dtype| dtype.name() == name).ok_or_else(|| {
        let [first, second, last] = CACHE_TYPES.map(Dtype::name);
        Error::argument(format!("kvDtype `{name}`, expected {first}, {second} or {last}"))
    })
}

/// The type that keys and values are held in where `wanted` is asked for: K·D has to be a multiple of 64,
/// and, for the blocks of q8, D one of 32. What does not fit q8 is held in f16, and what does not fit that
/// in f32.
pub fn held_type(wanted: Dtype, kv_cols: usize, head_dim: usize) -> Dtype {
    match wanted {
        _ if !kv_cols.is_multiple_of(2 * BLOCK) => Dtype::F32,
        Dtype::Q8 if !head_dim.is_multiple_of(BLOCK) => Dtype::F16,
        _ => wanted,
    }
}

/// How the keys, or the values, of all slots lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLayout {
    /// One of [`CACHE_TYPES`].
    pub dtype: Dtype,
    /// S
    pub s: usize,
    /// K·D
    pub kv_cols: usize,
}

impl CacheLayout {
    /// That of a tensor (slots, S, K·D).
    pub fn of(tensor: &Tensor) -> Self {
        let [_, s, kv_cols] = tensor.shape[..] else { unreachable!("a cache is (slots, S, K·D)") };
        Self { dtype: tensor.dtype, s, kv_cols }
    }

    /// Words of codes, and of two f16 each, of a position.
    fn widths(&self) -> [usize; 2] {
        let halves = self.dtype.halves(self.kv_cols).len();
        [self.dtype.row_words(self.kv_cols) - halves, halves]
    }

    /// Words of one position.
    pub fn position_words(&self) -> usize {
        self.dtype.row_words(self.kv_cols)
    }

    /// Where the words of some positions of a slot lie: their codes, then their f16.
    pub fn spans(&self, slot: usize, positions: Range<usize>) -> [Range<usize>; 2] {
        let [codes, halves] = self.widths();
        let first = slot * self.s * (codes + halves);
        let at = |from: usize, width: usize| from + positions.start * width..from + positions.end * width;
        [at(first, codes), at(first + self.s * codes, halves)]
    }

    /// Numbers of whole positions as their codes and their f16.
    pub fn packed(&self, numbers: &[f32]) -> [Vec<u32>; 2] {
        let (n, [codes, _]) = (numbers.len() / self.kv_cols, self.widths());
        let mut words = Vec::with_capacity(n * self.position_words());
        if self.dtype == Dtype::F16 {
            let within: Vec<f32> = numbers.iter().map(|x| x.clamp(-F16_MAX, F16_MAX)).collect();
            self.dtype.pack(&within, &mut words);
        } else {
            self.dtype.pack(numbers, &mut words);
        }
        let halves = words.split_off(n * codes);
        [words, halves]
    }

    /// Writes a position of a slot.
    pub(crate) fn store(&self, words: &mut [u32], slot: usize, pos: usize, numbers: &[f32]) {
        for (span, packed) in self.spans(slot, pos..pos + 1).into_iter().zip(self.packed(numbers)) {
            words[span].copy_from_slice(&packed);
        }
    }

    /// Reads some positions of a slot, (positions, K·D).
    pub(crate) fn widen(&self, words: &[u32], slot: usize, positions: Range<usize>, numbers: &mut [f32]) {
        let [codes, halves] = self.spans(slot, positions).map(|span| &words[span]);
        if !numbers.is_empty() {
            self.dtype.unpack(&[codes, halves].concat(), numbers.len(), numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KV: usize = 128;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n * KV).map(|i| (i as f32 * 0.37).sin() * (1.0 + (i % 7) as f32)).collect()
    }

    #[test]
    fn positions_are_read_as_they_were_written_whatever_lies_beside_them() {
        // Half a step of the codes, and the rounding of the scale that they are counted in.
        let (half, of_scale) = (7.0 / 254.0, 7.0 / 2048.0);
        for (dtype, most) in [(Dtype::F32, 0.0), (Dtype::F16, of_scale), (Dtype::Q8, half + of_scale)] {
            let layout = CacheLayout { dtype, s: 5, kv_cols: KV };
            let mut words = vec![0u32; 3 * dtype.row_words(5 * KV)];
            let wanted = numbers(15);
            // Backwards, and each after its neighbours: no position takes a word of another.
            for i in [14, 3, 5, 4, 0, 13, 7, 6, 2, 1, 9, 8, 12, 10, 11] {
                layout.store(&mut words, i / 5, i % 5, &wanted[i * KV..][..KV]);
            }
            for (slot, positions) in [(0, 0..5), (1, 2..4), (2, 4..5), (2, 3..3)] {
                let mut read = vec![f32::NAN; positions.len() * KV];
                layout.widen(&words, slot, positions.clone(), &mut read);
                let want = &wanted[(slot * 5 + positions.start) * KV..][..read.len()];
                assert!(read.iter().zip(want).all(|(got, want)| (got - want).abs() <= most), "{dtype:?}");
            }
        }
    }

    #[test]
    fn what_is_past_f16_is_its_largest_number() {
        let layout = CacheLayout { dtype: Dtype::F16, s: 1, kv_cols: 64 };
        let mut words = vec![0; 32];
        let mut wide = vec![1e6; 64];
        wide[1] = f32::NEG_INFINITY;
        layout.store(&mut words, 0, 0, &wide);
        let mut read = vec![0.0; 64];
        layout.widen(&words, 0, 0..1, &mut read);
        assert_eq!(read[..3], [F16_MAX, -F16_MAX, F16_MAX]);
    }

    #[test]
    fn what_does_not_fit_is_held_wider() {
        let held = |wanted, kv_cols, head_dim| held_type(wanted, kv_cols, head_dim);
        assert_eq!(held(Dtype::Q8, 192, 64), Dtype::Q8);
        assert_eq!(held(Dtype::Q8, 320, 80), Dtype::F16);
        assert_eq!(held(Dtype::Q8, 96, 32), Dtype::F32);
        assert_eq!(held(Dtype::F16, 20, 10), Dtype::F32);
        assert_eq!(held(Dtype::F32, 64, 64), Dtype::F32);
        let error = cache_type("q4").expect_err("no cache");
        assert_eq!(error.to_string(), "kvDtype `q4`, expected f32, f16 or q8");
    }
}
