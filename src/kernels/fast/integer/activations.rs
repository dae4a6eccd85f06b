//! Rows of activations as whole numbers of 16 bits, for products with codes of 8. Sums of such products are
//! exact in 32 bits, so their order does not matter: the same on every machine, alone and in a batch.

use crate::dtype::{BLOCK, GROUP};

/// The largest code: 32 products of it and −128 add up within an i32.
const MOST: f32 = 32767.0;
/// Below this a block counts as zeros: 1 / scale would not be finite.
const LEAST: f32 = 1e-33;
/// Added to a number below 2²², leaves it rounded to the nearest in the low bits.
const ROUNDED: f32 = 12_582_912.0;

/// x (N, C), as code · scale: a scale for each 32 elements. What is read together lies together: groups of
/// four runs of each row, then the next group of each row. Zeros fill up the last group.
pub(super) struct Activations {
    n: usize,
    run: usize,
    /// (groups, N, 4 · run)
    codes: Vec<i16>,
    /// (groups, N, 4), a run's scale
    scales: Vec<[f32; GROUP]>,
    /// (groups, N, 4), the sum of a run
    sums: Vec<[f32; GROUP]>,
}

impl Activations {
    /// Rounds x to 16 bits; an element is off by at most 1/65534 of the largest of its 32. What is not a
    /// number makes its block's scale none.
    pub(super) fn new(x: &[f32], c: usize, run: usize) -> Self {
        let (n, groups) = (x.len() / c, (c / run).div_ceil(GROUP));
        let mut all = Self {
            n,
            run,
            codes: vec![0; groups * n * GROUP * run],
            scales: vec![[0.0; GROUP]; groups * n],
            sums: vec![[0.0; GROUP]; groups * n],
        };
        for (row, x) in x.chunks_exact(c).enumerate() {
            for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
                let (codes, scale) = rounded(x);
                for (i, codes) in codes.chunks_exact(run).enumerate() {
                    let at = block * (BLOCK / run) + i;
                    let (cell, lane) = (at / GROUP * n + row, at % GROUP);
                    all.codes[(cell * GROUP + lane) * run..][..run].copy_from_slice(codes);
                    all.scales[cell][lane] = scale;
                    all.sums[cell][lane] =
                        scale * codes.iter().map(|&code| i32::from(code)).sum::<i32>() as f32;
                }
            }
        }
        all
    }

    /// Rows.
    #[inline(always)]
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Elements of a run.
    #[inline(always)]
    pub(super) fn run(&self) -> usize {
        self.run
    }

    /// (groups, N, 4 · run)
    #[inline(always)]
    pub(super) fn codes(&self) -> &[i16] {
        &self.codes
    }

    /// (groups, N, 4)
    #[inline(always)]
    pub(super) fn scales(&self) -> &[[f32; GROUP]] {
        &self.scales
    }

    /// (groups, N, 4)
    #[inline(always)]
    pub(super) fn sums(&self) -> &[[f32; GROUP]] {
        &self.sums
    }
}

fn rounded(x: &[f32; BLOCK]) -> ([i16; BLOCK], f32) {
    // Magnitudes are ordered as their bits are, and what is not a number is above them all.
    let most = x.iter().fold(0, |most, x| (x.to_bits() & 0x7fff_ffff).max(most));
    let most = f32::from_bits(most);
    if !most.is_finite() {
        return ([0; BLOCK], f32::NAN);
    }
    if most < LEAST {
        return ([0; BLOCK], 0.0);
    }
    let inverse = MOST / most;
    let code = |x: f32| (x * inverse + ROUNDED).to_bits().wrapping_sub(ROUNDED.to_bits()) as i16;
    (x.map(code), most / MOST)
}
