//! Four-lane arithmetic written so that it vectorises without intrinsics.

/// Lanes of one accumulator: a SIMD128 register of f32.
pub const LANES: usize = 4;

/// dots[i][j] = x[i] · w[j], all of length C
///
/// X·W accumulators stay in registers while C is walked once.
#[inline(always)]
pub fn dots<const X: usize, const W: usize>(x: [&[f32]; X], w: [&[f32]; W]) -> [[f32; W]; X] {
    let c = w[0].len();
    let (x, w) = (x.map(|x| &x[..c]), w.map(|w| &w[..c]));
    let mut sums = [[[0.0f32; LANES]; W]; X];
    let whole = c - c % LANES;
    for at in (0..whole).step_by(LANES) {
        let w = w.map(|w| four(w, at));
        for i in 0..X {
            let x = four(x[i], at);
            for j in 0..W {
                for l in 0..LANES {
                    sums[i][j][l] += x[l] * w[j][l];
                }
            }
        }
    }
    let mut dots = [[0.0; W]; X];
    for i in 0..X {
        for j in 0..W {
            let [a, b, c_, d] = sums[i][j];
            let tail: f32 = (whole..c).map(|at| x[i][at] * w[j][at]).sum();
            dots[i][j] = (a + c_) + (b + d) + tail;
        }
    }
    dots
}

#[inline(always)]
fn four(x: &[f32], at: usize) -> [f32; LANES] {
    x[at..at + LANES].try_into().expect("a slice of four")
}

/// y += a · x
#[inline(always)]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// y += a0 · x0 + a1 · x1 + a2 · x2 + a3 · x3, walking y once
#[inline(always)]
pub fn add_four(y: &mut [f32], a: [f32; 4], x: [&[f32]; 4]) {
    let x = x.map(|x| &x[..y.len()]);
    for (i, y) in y.iter_mut().enumerate() {
        *y += (a[0] * x[0][i] + a[1] * x[1][i]) + (a[2] * x[2][i] + a[3] * x[3][i]);
    }
}
