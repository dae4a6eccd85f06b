//! Activations rounded to 16 bits where they meet packed weights: against the twin where nothing is lost, within
//! the rounding where something is, and with the same bits however many rows there are.

use crate::common::noise;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::ops::{Linear, Slice};
use lorakeet::plan::{Plan, Tensors};
use wasm_bindgen_test::wasm_bindgen_test;

/// Rows of weights of a type: any codes, with scales of about 1.
fn weights(dtype: Dtype, f: usize, c: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for row in noise(3, f * c, 1.0).chunks_exact(c) {
        if dtype.can_pack() {
            dtype.pack(row, &mut words);
            continue;
        }
        // Bits of numbers that are made up are codes as good as any; each f16 is 0.75.
        let halves = dtype.halves(c);
        let codes = row.iter().cycle().map(|x| x.to_bits().wrapping_mul(0x9e37_79b9));
        words.extend(codes.take(halves.start));
        words.extend(halves.map(|_| 0x3a00_3a00));
    }
    words
}

/// x · Wᵀ over `bias` and what y held.
fn product(kernels: Kernels, dtype: Dtype, x: &[f32], c: usize, w: &[u32]) -> Vec<f32> {
    let (n, f) = (x.len() / c, w.len() / dtype.row_words(c));
    let mut tensors = Tensors::default();
    let mut declare = |name, dtype, shape: &[usize]| tensors.declare(name, dtype, shape).expect("small");
    let x_id = declare("x", Dtype::F32, &[n, c]);
    let weight = declare("w", dtype, &[f, c]);
    let bias = declare("bias", Dtype::F32, &[f + 3]);
    let y = declare("y", Dtype::F32, &[n, f + 3]);
    let mut plan = Plan::new(n);
    let weight = Slice { tensor: weight, first: 2 };
    plan.push(&tensors, Linear { x: x_id, weight, bias: Some(bias), y, accumulate: true, delta: None });
    let mut cpu = Cpu::new(kernels);
    cpu.allocate(&tensors).expect("small");
    cpu.upload(x_id, 0, bytemuck::cast_slice(x));
    cpu.upload(weight.tensor, 0, w);
    cpu.upload(bias, 0, bytemuck::cast_slice(&noise(5, f + 3, 1.0)));
    cpu.upload(y, 0, bytemuck::cast_slice(&vec![0.5f32; n * (f + 3)]));
    cpu.run(&plan, 1);
    bytemuck::cast_vec(cpu.read(y, 0, n * (f + 3)))
}

fn packed_types() -> impl Iterator<Item = (Dtype, usize)> {
    let codes = Dtype::PACKED.into_iter().filter(|&dtype| dtype != Dtype::F16);
    let widths = [32, 64, 96, 192, 256, 512, 1280];
    codes.flat_map(move |dtype| widths.into_iter().filter(move |&c| dtype.fits(c)).map(move |c| (dtype, c)))
}

/// The rows that lie on both sides of each limit.
const ROWS: [usize; 5] = [1, 3, 16, 17, 38];

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn numbers_of_16_bits_lose_nothing() {
    for (dtype, c) in packed_types() {
        for n in ROWS {
            let (f, w) = (21, weights(dtype, 21, c));
            // Whole numbers, of which each block has the largest.
            let mut x: Vec<f32> = noise(1, n * c, 32767.0).into_iter().map(f32::round).collect();
            x.chunks_exact_mut(32).for_each(|block| block[7] = -32767.0);
            x.iter_mut().for_each(|x| *x *= 2f32.powi(-15));
            let want = product(Kernels::Twin, dtype, &x, c, &w);
            let got = product(Kernels::Rounded, dtype, &x, c, &w);
            let most = want.iter().fold(1.0f32, |most, y| most.max(y.abs()));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let (row, column) = (i / (f + 3), i % (f + 3));
                assert!(
                    (got - want).abs() <= 2e-6 * most,
                    "{dtype:?} ({n}, {c}), row {row}, column {column}: {got}, expected {want}"
                );
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn others_are_off_by_what_rounding_takes() {
    for (dtype, c) in packed_types() {
        let w = weights(dtype, 9, c);
        // One large number in a block, of which the others feel the steps.
        let mut x = noise(2, 5 * c, 1.0);
        x.iter_mut().step_by(77).for_each(|x| *x *= 300.0);
        let mut numbers = vec![0.0; 9 * c];
        dtype.unpack(&w, c, &mut numbers);
        let exact = product(Kernels::Twin, dtype, &x, c, &w);
        let got = product(Kernels::Rounded, dtype, &x, c, &w);
        assert_ne!(bits(&got), bits(&exact), "{dtype:?}: something was rounded");
        for (row, x) in x.chunks_exact(c).enumerate() {
            for (column, w) in numbers.chunks_exact(c).enumerate() {
                let blocks = x.chunks_exact(32).zip(w.chunks_exact(32));
                let step = |x: &[f32]| x.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 65534.0;
                let bound: f32 = blocks.map(|(x, w)| step(x) * w.iter().map(|w| w.abs()).sum::<f32>()).sum();
                let at = row * 12 + 2 + column;
                let most = 1.01 * bound + 2e-6 * exact[at].abs().max(1.0);
                let off = (got[at] - exact[at]).abs();
                assert!(
                    off <= most,
                    "{dtype:?} {c}, row {row}, column {column}: off by {off}, at most {most}"
                );
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_row_has_the_same_bits_alone_and_beside_others() {
    for (dtype, c) in packed_types() {
        let (f, w) = (21, weights(dtype, 21, c));
        let x = noise(4, 38 * c, 2.0);
        let alone: Vec<f32> =
            x.chunks_exact(c).flat_map(|x| product(Kernels::Rounded, dtype, x, c, &w)).collect();
        for n in ROWS {
            let together = product(Kernels::Rounded, dtype, &x[..n * c], c, &w);
            assert_eq!(bits(&together), bits(&alone[..n * (f + 3)]), "{dtype:?}, {n} rows of {c}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_a_number_stays_so_in_its_row() {
    for (dtype, c) in packed_types() {
        let w = weights(dtype, 5, c);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for n in [3, 20] {
                let mut x = noise(6, n * c, 1.0);
                x[c + 9] = bad;
                let y = product(Kernels::Rounded, dtype, &x, c, &w);
                for (row, y) in y.chunks_exact(8).enumerate() {
                    assert_eq!(y[2..7].iter().all(|y| y.is_nan()), row == 1, "{dtype:?}, row {row} of {n}");
                    assert!(row == 1 || y.iter().all(|y| y.is_finite()), "{dtype:?}, row {row} of {n}");
                }
            }
        }
        // What is too small to divide by counts as zero.
        let y = product(Kernels::Rounded, dtype, &vec![f32::MIN_POSITIVE; c], c, &w);
        assert_eq!(bits(&y), bits(&product(Kernels::Rounded, dtype, &vec![0.0; c], c, &w)), "{dtype:?}");
    }
}
