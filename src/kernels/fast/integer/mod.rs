//! Products of packed weights and activations in whole numbers, for [`linear`](super::linear). Each row of W is
//! taken apart once. For few rows of x it is walked as it lies in memory; for many, a few rows of W are
//! turned, and multiplied in tiles that stay in registers.
//!
//! The products of a run add up exactly; the scaled sums of runs add up in four lanes, in order. So a row of x
//! gets the same bits whatever is beside it, and on every machine.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod lanes;

use wide::{f32x4, i8x16, i16x16, i32x4, u16x8};

use super::lanes::{LANES, LINE};
use activations::Activations;
use lanes::Lanes;

use crate::dtype::{GROUP, Integers, Runs};
use crate::pool::Pool;
use crate::twin::weight::WeightData;

/// Most rows of x for which W is not turned.
const FEW: usize = 7;
/// Rows of x in a tile.
const TILE: usize = 4;

/// How a machine multiplies: the two innermost loops. `COLUMNS` rows of W are turned together.
///
/// # Safety
///
/// To be called where the machine has the instructions that it stands for.
trait Multiply<const COLUMNS: usize> {
    /// Σ w · x of each of the four runs of a group.
    unsafe fn totals<const SPAN: usize>(w: &[i8; SPAN], x: &[i16; SPAN]) -> i32x4;

    /// Σ w · x over a run, for some rows of x, by pairs of elements.
    unsafe fn tile<const PAIRS: usize, const ROWS: usize>(
        w: &[[[i16; 2]; COLUMNS]; PAIRS],
        x: [&[[i16; 2]; PAIRS]; ROWS],
    ) -> [[i32; COLUMNS]; ROWS];
}

/// Gives `put` the elements of x · Wᵀ, some columns at a time, by their row and first column, from any thread;
/// `None` where W has no codes.
pub(super) fn product(
    pool: &Pool,
    x: &[f32],
    weight: WeightData<'_>,
    put: impl Fn(usize, usize, &[f32]) + Sync,
) -> Option<()> {
    let integers = weight.dtype.integers(weight.c)?;
    let x = Activations::new(x, weight.c, integers.run);
    let work = x.n() * weight.rows() * weight.c;
    pool.split(weight.rows(), LINE, work, |part| {
        let (first, integers) = (part.start, integers.clone());
        let weight = weight.part(part);
        let put = |row: usize, column: usize, dots: &[f32]| put(row, first + column, dots);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just said that it has it.
            unsafe { avx2::product(&x, weight, integers, put) };
            return;
        }
        // SAFETY: these are everywhere.
        unsafe { multiply::<Lanes, { lanes::COLUMNS }>(&x, weight, integers, put) };
    });
    Some(())
}

#[inline(always)]
unsafe fn multiply<M: Multiply<COLUMNS>, const COLUMNS: usize>(
    x: &Activations,
    weight: WeightData<'_>,
    integers: Integers,
    put: impl FnMut(usize, usize, &[f32]),
) {
    // SAFETY: as the caller says.
    unsafe {
        match (x.n() <= FEW, x.run()) {
            (true, 16) => few::<M, COLUMNS, { GROUP * 16 }>(x, weight, integers, put),
            (true, _) => few::<M, COLUMNS, { GROUP * 32 }>(x, weight, integers, put),
            (false, 16) => many::<M, COLUMNS, 8>(x, weight, integers, put),
            (false, _) => many::<M, COLUMNS, 16>(x, weight, integers, put),
        }
    }
}

/// `SPAN` elements are a group.
#[inline(always)]
unsafe fn few<M: Multiply<COLUMNS>, const COLUMNS: usize, const SPAN: usize>(
    x: &Activations,
    weight: WeightData<'_>,
    mut integers: Integers,
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    let n = x.n();
    let (x_codes, x_scales) = (x.codes().as_chunks::<SPAN>().0, x.scales());
    let mut totals = vec![i32x4::ZERO; x_scales.len()];
    let width = weight.dtype.row_words(weight.c);
    for column in 0..weight.rows() {
        let words = &weight.words[column * width..][..width];
        let (whole, rest) = integers.codes.read(words).as_chunks::<SPAN>();
        let mut at = 0;
        // SAFETY: as the caller says.
        unsafe {
            for codes in whole {
                for i in at..at + n {
                    totals[i] = M::totals(codes, &x_codes[i]);
                }
                at += n;
            }
            if !rest.is_empty() {
                let rest = filled::<SPAN>(rest);
                for i in at..at + n {
                    totals[i] = M::totals(&rest, &x_codes[i]);
                }
            }
        }
        let (scales, offsets) = integers.scales.read(words);
        for row in 0..n {
            let (mut sums, mut at) = (f32x4::ZERO, row);
            for &scale in scales {
                sums += f32x4::from_i32x4(totals[at]) * (f32x4::from(scale) * f32x4::from(x_scales[at]));
                at += n;
            }
            put(row, column, &[sum(sums) - offset(offsets, x, row)]);
        }
    }
}

/// `PAIRS` pairs of elements are a run.
#[inline(always)]
unsafe fn many<M: Multiply<COLUMNS>, const COLUMNS: usize, const PAIRS: usize>(
    x: &Activations,
    weight: WeightData<'_>,
    integers: Integers,
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    let (n, row_words) = (x.n(), weight.dtype.row_words(weight.c));
    let mut space: [Integers; COLUMNS] = std::array::from_fn(|_| integers.clone());
    let mut sums = vec![[[0.0; COLUMNS]; GROUP]; n];
    let mut less: Vec<[[f32; COLUMNS]; GROUP]> = Vec::new();
    let end = weight.rows();
    for first in (0..end).step_by(COLUMNS) {
        let width = COLUMNS.min(end - first);
        let (mut codes, mut scales, mut offsets) =
            ([&[][..]; COLUMNS], [&[][..]; COLUMNS], [&[][..]; COLUMNS]);
        for (i, space) in space.iter_mut().enumerate() {
            // Past the last column there is no other: it is done again.
            let words = &weight.words[(first + i.min(width - 1)) * row_words..][..row_words];
            codes[i] = space.codes.read(words);
            (scales[i], offsets[i]) = space.scales.read(words);
        }
        sums.fill([[0.0; COLUMNS]; GROUP]);
        for run in 0..weight.c / (2 * PAIRS) {
            let (group, lane) = (run / GROUP, run % GROUP);
            let block = Block::<COLUMNS, PAIRS> {
                group,
                lane,
                turned: turned::<COLUMNS, PAIRS>(codes, run),
                scales: scales.map(|scales: &[[f32; GROUP]]| scales[group][lane]),
            };
            let mut row = 0;
            // SAFETY: as the caller says.
            unsafe {
                while row + TILE <= n {
                    block.add::<M, TILE>(x, row, &mut sums);
                    row += TILE;
                }
                (row..n).for_each(|row| block.add::<M, 1>(x, row, &mut sums));
            }
        }
        less.clear();
        for group in 0..offsets[0].len() {
            less.push(std::array::from_fn(|lane| std::array::from_fn(|i| offsets[i][group][lane])));
        }
        for (row, [a, b, c, d]) in sums.iter().enumerate() {
            let mut dots: [f32; COLUMNS] = std::array::from_fn(|i| (a[i] + c[i]) + (b[i] + d[i]));
            if !less.is_empty() {
                let [a, b, c, d] = taken_off(&less, x, row);
                (0..COLUMNS).for_each(|i| dots[i] -= (a[i] + c[i]) + (b[i] + d[i]));
            }
            put(row, first, &dots[..width]);
        }
    }
}

/// A run of some rows of W, by pairs of elements and then by rows: eight by eight pairs at a time, which are as wide
/// as whole numbers of 16 bits.
#[inline(always)]
fn turned<const COLUMNS: usize, const PAIRS: usize>(
    codes: [&[i8]; COLUMNS],
    run: usize,
) -> [[[i16; 2]; COLUMNS]; PAIRS] {
    let codes: [&[[i8; 16]]; COLUMNS] = codes.map(|codes| codes.as_chunks().0);
    let mut turned = [[[0; 2]; COLUMNS]; PAIRS];
    for block in 0..PAIRS / 8 {
        for first in (0..COLUMNS).step_by(8) {
            let eight = std::array::from_fn(|i| bytemuck::cast(codes[first + i][run * (PAIRS / 8) + block]));
            for (i, pairs) in u16x8::transpose(eight).into_iter().enumerate() {
                let pairs: [[i16; 2]; 8] = bytemuck::cast(i16x16::from(bytemuck::cast::<_, i8x16>(pairs)));
                turned[8 * block + i][first..first + 8].copy_from_slice(&pairs);
            }
        }
    }
    turned
}

/// The last codes of a row, and zeros: a copy by its length would be a call.
#[inline(always)]
fn filled<const SPAN: usize>(rest: &[i8]) -> [i8; SPAN] {
    let rest = rest.as_chunks::<16>().0;
    let mut all = [0; SPAN];
    for (i, all) in all.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *all = if i < rest.len() { rest[i] } else { [0; 16] };
    }
    all
}

/// What the offsets of a row of W take off its product with a row of x.
#[inline(always)]
fn offset(offsets: Runs<'_>, x: &Activations, row: usize) -> f32 {
    let (mut sums, mut at) = (f32x4::ZERO, row);
    for &offset in offsets {
        sums += f32x4::from(offset) * f32x4::from(x.sums()[at]);
        at += x.n();
    }
    sum(sums)
}

/// What the offsets of some rows of W, turned, take off their products with a row of x: by lanes.
#[inline(never)]
fn taken_off<const COLUMNS: usize>(
    offsets: &[[[f32; COLUMNS]; GROUP]],
    x: &Activations,
    row: usize,
) -> [[f32; COLUMNS]; GROUP] {
    let mut less = [[0.0; COLUMNS]; GROUP];
    for (offsets, sums) in offsets.iter().zip(x.sums()[row..].iter().step_by(x.n())) {
        for lane in 0..GROUP {
            let sum = f32x4::splat(sums[lane]);
            let less = less[lane].as_chunks_mut::<LANES>().0.iter_mut();
            for (less, &offset) in less.zip(offsets[lane].as_chunks::<LANES>().0) {
                *less = (f32x4::from(*less) + f32x4::from(offset) * sum).to_array();
            }
        }
    }
    less
}

/// A run of some rows of W, turned.
struct Block<const COLUMNS: usize, const PAIRS: usize> {
    group: usize,
    lane: usize,
    turned: [[[i16; 2]; COLUMNS]; PAIRS],
    scales: [f32; COLUMNS],
}

impl<const COLUMNS: usize, const PAIRS: usize> Block<COLUMNS, PAIRS> {
    /// Adds its product with some rows of x, from `first` on.
    #[inline(always)]
    unsafe fn add<M: Multiply<COLUMNS>, const ROWS: usize>(
        &self,
        x: &Activations,
        first: usize,
        sums: &mut [[[f32; COLUMNS]; GROUP]],
    ) {
        let at = self.group * x.n() + first;
        let (sums, scales) = (&mut sums[first..][..ROWS], &x.scales()[at..][..ROWS]);
        let codes: &[[i16; 2]] = bytemuck::cast_slice(x.codes());
        let codes = &codes.as_chunks::<PAIRS>().0[at * GROUP..][..ROWS * GROUP];
        let x_codes: [_; ROWS] = std::array::from_fn(|i| &codes[i * GROUP + self.lane]);
        // SAFETY: as the caller says.
        let totals = unsafe { M::tile(&self.turned, x_codes) };
        for (i, totals) in totals.iter().enumerate() {
            let sums = &mut sums[i][self.lane].as_chunks_mut::<LANES>().0;
            let scale = f32x4::splat(scales[i][self.lane]);
            let totals = totals.as_chunks::<LANES>().0.iter().zip(self.scales.as_chunks::<LANES>().0);
            for (sums, (&totals, &scales)) in sums.iter_mut().zip(totals) {
                let product = f32x4::from_i32x4(i32x4::from(totals)) * (f32x4::from(scales) * scale);
                *sums = (f32x4::from(*sums) + product).to_array();
            }
        }
    }
}

#[inline(always)]
fn sum(lanes: f32x4) -> f32 {
    let [a, b, c, d] = lanes.to_array();
    (a + c) + (b + d)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    #[test]
    fn vectors_of_256_bits_give_the_same_bits() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        let noise = |i: usize| ((i * 7919 % 2003) as f32 - 1001.0) / 400.0;
        for dtype in [Dtype::Q8, Dtype::Q4_1, Dtype::Q6K] {
            for n in [1, 5, 8, 23] {
                let (f, c) = (37, if dtype == Dtype::Q6K { 512 } else { 192 });
                let words: Vec<u32> = (0..f * dtype.row_words(c))
                    .map(|i| (i as u32).wrapping_mul(0x9e37_79b9) & 0x33ff_33ff)
                    .collect();
                let weight = WeightData { dtype, words: &words, c };
                let integers = dtype.integers(c).expect("a type of codes");
                let x: Vec<f32> = (0..n * c).map(noise).collect();
                let x = Activations::new(&x, c, integers.run);
                let mut both = [vec![0; n * f], vec![0; n * f]];
                for (i, all) in both.iter_mut().enumerate() {
                    let put = |row: usize, column: usize, dots: &[f32]| {
                        let to = all[row * f + column..].iter_mut();
                        to.zip(dots).for_each(|(bits, dot)| *bits = dot.to_bits());
                    };
                    // SAFETY: AVX2 is there.
                    unsafe {
                        match i {
                            0 => avx2::product(&x, weight, integers.clone(), put),
                            _ => multiply::<Lanes, { lanes::COLUMNS }>(&x, weight, integers.clone(), put),
                        }
                    }
                }
                assert_eq!(both[0], both[1], "{dtype:?}, {n} rows");
                assert!(both[0].iter().any(|&bits| bits != 0));
            }
        }
    }
}
