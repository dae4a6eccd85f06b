//! Arithmetic on rows, four lanes at a time: SIMD128 on wasm32, the host's vectors elsewhere.

use wide::f32x4;

/// Elements of a vector.
pub(crate) const LANES: usize = 4;
/// Elements of a row that lie in one line of a cache.
pub(crate) const LINE: usize = 16;
/// About how many multiplications one exponential takes as long as.
pub(crate) const EXP: usize = 32;

/// dots[i][j] = x[i] · w[j], all of length C
///
/// X·W sums stay in registers while C is walked once. A dot product has the same bits whatever
/// X and W are: a row gets in a batch what it gets alone.
#[inline(always)]
pub(crate) fn dots<const X: usize, const W: usize>(x: [&[f32]; X], w: [&[f32]; W]) -> [[f32; W]; X] {
    let c = w[0].len();
    let n = c / LANES;
    // Slices of one length, so that no index in the loop is checked.
    let (x4, w4) = (x.map(|x| fours(x, n)), w.map(|w| fours(w, n)));
    let mut sums = [[f32x4::ZERO; W]; X];
    for at in 0..n {
        let w = w4.map(|w| f32x4::from(w[at]));
        for i in 0..X {
            let x = f32x4::from(x4[i][at]);
            for j in 0..W {
                sums[i][j] += x * w[j];
            }
        }
    }
    let mut dots = [[0.0; W]; X];
    for i in 0..X {
        for j in 0..W {
            let [a, b, c_, d] = sums[i][j].to_array();
            let tail: f32 = (n * LANES..c).map(|at| x[i][at] * w[j][at]).sum();
            dots[i][j] = (a + c_) + (b + d) + tail;
        }
    }
    dots
}

/// dots[i] = x[i] · w, all of length C, for a w that is read once. Four chains of sums hide the time that
/// one takes. The same bits whatever X is.
#[inline(always)]
pub(crate) fn long_dots<const X: usize>(x: [&[f32]; X], w: &[f32]) -> [f32; X] {
    const STEP: usize = 4 * LANES;
    let n = w.len() / STEP;
    let w16 = &w.as_chunks::<STEP>().0[..n];
    let x16 = x.map(|x| &x.as_chunks::<STEP>().0[..n]);
    let mut sums = [[f32x4::ZERO; 4]; X];
    for at in 0..n {
        let w: [f32x4; 4] = bytemuck::cast(w16[at]);
        for i in 0..X {
            let x: [f32x4; 4] = bytemuck::cast(x16[i][at]);
            for j in 0..4 {
                sums[i][j] += x[j] * w[j];
            }
        }
    }
    let mut dots = [0.0; X];
    for i in 0..X {
        let [a, b, c, d] = ((sums[i][0] + sums[i][2]) + (sums[i][1] + sums[i][3])).to_array();
        let tail: f32 = (n * STEP..w.len()).map(|at| x[i][at] * w[at]).sum();
        dots[i] = (a + c) + (b + d) + tail;
    }
    dots
}

#[inline(always)]
fn fours(v: &[f32], n: usize) -> &[[f32; LANES]] {
    &v.as_chunks().0[..n]
}

/// y += a · x
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// y += a0 · x0 + a1 · x1 + a2 · x2 + a3 · x3, walking y once
#[inline(always)]
pub(crate) fn add_four(y: &mut [f32], a: [f32; 4], x: [&[f32]; 4]) {
    let x = x.map(|x| &x[..y.len()]);
    for (i, y) in y.iter_mut().enumerate() {
        *y += (a[0] * x[0][i] + a[1] * x[1][i]) + (a[2] * x[2][i] + a[3] * x[3][i]);
    }
}

/// The largest number; −∞ if there is none.
pub(super) fn largest(x: &[f32]) -> f32 {
    // Not `f32::max`, which WebAssembly calls for each number.
    let larger = |a: f32, b: &f32| if *b > a { *b } else { a };
    let (fours, rest) = x.as_chunks::<LANES>();
    let four = fours.iter().fold(f32x4::splat(f32::NEG_INFINITY), |most, x| most.fast_max(f32x4::from(*x)));
    four.to_array().iter().chain(rest).fold(f32::NEG_INFINITY, larger)
}

/// x ← exp(x − most); their sum
pub(super) fn exps(x: &mut [f32], most: f32) -> f32 {
    let (most4, mut sums) = (f32x4::splat(most), f32x4::ZERO);
    let (fours, rest) = x.as_chunks_mut::<LANES>();
    for four in fours {
        let exp = (f32x4::from(*four) - most4).exp();
        sums += exp;
        *four = exp.to_array();
    }
    rest.iter_mut().for_each(|x| *x = (*x - most).exp());
    sums.reduce_add() + rest.iter().sum::<f32>()
}

/// cap · tanh(s / cap), or s where `cap` is 0; see the twin of attention.
pub(super) fn capped(s: f32, cap: f32) -> f32 {
    if cap == 0.0 { s } else { cap * (s / cap).tanh() }
}

/// Its slope, by its value y.
pub(super) fn capped_slope(y: f32, cap: f32) -> f32 {
    if cap == 0.0 { 1.0 } else { 1.0 - (y / cap) * (y / cap) }
}
