//! Sums of outer products, y += left · right, where right is walked row by row: packed in panels
//! that stay in the first cache, multiplied in tiles that stay in registers.

use super::lanes::LANES;
use crate::pool::Shared;

/// Rows of a panel.
pub(crate) const DEPTH: usize = 256;
/// Rows of a tile.
const ROWS: usize = 4;
/// Columns of a panel and of a tile: eight registers of sums.
const WIDTH: usize = 2 * LANES;

/// A window on a row-major matrix: columns from `first` on of rows `stride` long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) first: usize,
    pub(crate) stride: usize,
}

/// y[i, y_first + j] += Σ left[i, k] · right(k)[j] over k < `depth`, for i < `count`
///
/// `right` gives rows of one length, the number of columns j; y has rows of `y_stride`. Each element is the
/// same sum in the same order, whatever is computed beside it.
///
/// # Safety
///
/// Nobody else uses these elements of y meanwhile.
pub(crate) unsafe fn add_product<'a>(
    left: Window<'_>,
    count: usize,
    depth: usize,
    right: impl Fn(usize) -> &'a [f32],
    y: Shared<'_, f32>,
    y_first: usize,
    y_stride: usize,
) {
    // What x86-64 guarantees is a quarter of what nearly all of its processors do.
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has just said that it has both; and as the caller says.
        unsafe { add_product_avx2(left, count, depth, right, y, y_first, y_stride) };
        return;
    }
    // SAFETY: as the caller says.
    unsafe { add_panels::<WIDTH, false>(left, count, depth, right, y, y_first, y_stride) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_product_avx2<'a>(
    left: Window<'_>,
    count: usize,
    depth: usize,
    right: impl Fn(usize) -> &'a [f32],
    y: Shared<'_, f32>,
    y_first: usize,
    y_stride: usize,
) {
    // SAFETY: as the caller says.
    unsafe { add_panels::<{ 2 * WIDTH }, true>(left, count, depth, right, y, y_first, y_stride) };
}

#[inline(always)]
unsafe fn add_panels<'a, const WIDTH: usize, const FUSED: bool>(
    left: Window<'_>,
    count: usize,
    depth: usize,
    right: impl Fn(usize) -> &'a [f32],
    y: Shared<'_, f32>,
    y_first: usize,
    y_stride: usize,
) {
    let cols = if depth == 0 { 0 } else { right(0).len() };
    let mut panel = [[0.0; WIDTH]; DEPTH];
    for k0 in (0..depth).step_by(DEPTH) {
        let panel = &mut panel[..DEPTH.min(depth - k0)];
        for j0 in (0..cols).step_by(WIDTH) {
            let width = WIDTH.min(cols - j0);
            for (k, line) in panel.iter_mut().enumerate() {
                let from = &right(k0 + k)[j0..];
                // A copy of a length that is known is no call.
                match from.first_chunk() {
                    Some(whole) => *line = *whole,
                    None => line[..width].copy_from_slice(&from[..width]),
                }
            }
            let line = |i: usize| &left.data[i * left.stride + left.first + k0..][..panel.len()];
            let put = |i: usize, sums: &[f32; WIDTH]| {
                // SAFETY: as the caller says.
                let y = unsafe { y.slice(i * y_stride + y_first + j0, width) };
                y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
            };
            let whole = count - count % ROWS;
            for i in (0..whole).step_by(ROWS) {
                let sums = tile::<ROWS, WIDTH, FUSED>(std::array::from_fn(|a| line(i + a)), panel);
                sums.iter().enumerate().for_each(|(a, sums)| put(i + a, sums));
            }
            for i in whole..count {
                let [sums] = tile::<1, WIDTH, FUSED>([line(i)], panel);
                put(i, &sums);
            }
        }
    }
}

/// sums[i] = Σ left[i][k] · panel[k]
#[inline(always)]
fn tile<const ROWS: usize, const WIDTH: usize, const FUSED: bool>(
    left: [&[f32]; ROWS],
    panel: &[[f32; WIDTH]],
) -> [[f32; WIDTH]; ROWS] {
    let left = left.map(|line| &line[..panel.len()]);
    let mut sums = [[0.0; WIDTH]; ROWS];
    for (k, line) in panel.iter().enumerate() {
        for i in 0..ROWS {
            for j in 0..WIDTH {
                // Without the instruction `mul_add` is a function call.
                sums[i][j] = if FUSED {
                    left[i][k].mul_add(line[j], sums[i][j])
                } else {
                    sums[i][j] + left[i][k] * line[j]
                };
            }
        }
    }
    sums
}
