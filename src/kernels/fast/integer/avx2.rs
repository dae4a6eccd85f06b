//! The innermost loops in vectors of 256 bits, which nearly every x86-64 processor has.

use std::arch::x86_64::*;

use wide::i32x4;

use super::activations::Activations;
use super::{Multiply, multiply};
use crate::dtype::{GROUP, Integers};
use crate::twin::weight::WeightData;

/// Two vectors.
const COLUMNS: usize = 16;

struct Avx2;

#[target_feature(enable = "avx2")]
pub(super) fn product(
    x: &Activations,
    weight: WeightData<'_>,
    integers: Integers,
    put: impl FnMut(usize, usize, &[f32]),
) {
    // SAFETY: this function asks for what they need.
    unsafe { multiply::<Avx2, COLUMNS>(x, weight, integers, put) }
}

impl Multiply<COLUMNS> for Avx2 {
    #[inline(always)]
    unsafe fn totals<const SPAN: usize>(w: &[i8; SPAN], x: &[i16; SPAN]) -> i32x4 {
        let (w, x) = (w.as_chunks::<16>().0, x.as_chunks::<16>().0);
        // SAFETY: loads within an array each; AVX2 is there.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); GROUP];
            for i in 0..SPAN / 16 {
                let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(w[i].as_ptr().cast()));
                let x = _mm256_loadu_si256(x[i].as_ptr().cast());
                let sum = &mut sums[i / (SPAN / 16 / GROUP)];
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(w, x));
            }
            let pairs = [_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3])];
            let halves = _mm256_hadd_epi32(pairs[0], pairs[1]);
            let totals = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            i32x4::from(std::mem::transmute::<__m128i, [i32; GROUP]>(totals))
        }
    }

    #[inline(always)]
    unsafe fn tile<const PAIRS: usize, const ROWS: usize>(
        w: &[[[i16; 2]; COLUMNS]; PAIRS],
        x: [&[[i16; 2]; PAIRS]; ROWS],
    ) -> [[i32; COLUMNS]; ROWS] {
        // SAFETY: loads within an array each; AVX2 is there.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
            for (i, w) in w.iter().enumerate() {
                let w: *const __m256i = w.as_ptr().cast();
                let w = [_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(bytemuck::cast(x[row][i]));
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(w[0], x));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(w[1], x));
                }
            }
            sums.map(|sums| std::mem::transmute(sums))
        }
    }
}
