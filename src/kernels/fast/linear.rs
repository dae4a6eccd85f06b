//! Fast [`linear`](crate::twin::linear). Few rows of x: one row of W at a time, so that weights are read in the
//! order in which they lie in memory; more rows of W at once take several times as long.

use std::ops::Range;

use super::integer;
use super::lanes::{LINE, add_four, add_scaled, long_dots};
use super::product::{Window, add_product};
use crate::control::FEW_ROWS;
use crate::pool::{Pool, Shared};
use crate::twin::linear::{Columns, DeltaData};
use crate::twin::weight::WeightData;

/// y[:, first..first + F] = delta(x · Wᵀ) (+ bias) (+ y); see the twin. If it `rounds`, x is rounded to
/// 16 bits where W is packed.
pub(crate) fn linear(
    pool: &Pool,
    x: &[f32],
    weight: WeightData<'_>,
    bias: Option<&[f32]>,
    columns: Columns,
    accumulate: bool,
    delta: Option<DeltaData<'_>>,
    rounds: bool,
    y: &mut [f32],
) {
    let Some(delta) = delta else {
        return product(pool, x, weight, bias, columns, accumulate, rounds, y);
    };
    let (f, c, stride) = (weight.rows(), weight.c, columns.stride);
    let scales =
        |n: usize| delta.mixes[delta.rows[n].mix as usize].active().iter().any(|b| b.affine().is_some());
    if !(0..x.len() / c).any(scales) {
        product(pool, x, weight, bias, columns, accumulate, rounds, y);
        let (n, y) = (x.len() / c, Shared::new(y));
        let ranks =
            |n: usize| delta.mixes[delta.rows[n].mix as usize].active().iter().map(|b| b.range().len());
        pool.split(f, LINE, f * (0..n).flat_map(ranks).sum::<usize>(), |part| {
            let columns = Columns { first: columns.first + part.start, stride };
            for n in 0..n {
                // SAFETY: parts have different columns.
                expand(&delta, n, columns, unsafe { y.slice(n * stride + columns.first, part.len()) });
            }
        });
        return;
    }
    // Gains apply to x · Wᵀ alone, so bias and residual come after.
    let mut line = vec![0.0; f];
    for (n, (x, y)) in x.chunks_exact(c).zip(y.chunks_exact_mut(stride)).enumerate() {
        product(pool, x, weight, None, Columns { first: 0, stride: f }, false, rounds, &mut line);
        scale(&delta, n, columns, &mut line);
        expand(&delta, n, columns, &mut line);
        let y = &mut y[columns.first..][..f];
        if !accumulate {
            y.fill(0.0);
        }
        add_scaled(y, 1.0, &line);
        if let Some(bias) = bias {
            add_scaled(y, 1.0, &bias[columns.first..][..f]);
        }
    }
}

/// line ← line·(1 + Σ γ·gain) + Σ γ·shift, for the columns of row n
fn scale(delta: &DeltaData<'_>, n: usize, columns: Columns, line: &mut [f32]) {
    let Columns { first, stride } = columns;
    let blocks = delta.mixes[delta.rows[n].mix as usize].active();
    let affine = || blocks.iter().filter_map(|block| Some((block.weight, block.affine()?)));
    let row = |row: usize| &delta.b[row * stride + first..][..line.len()];
    let mut gains = vec![1.0; line.len()];
    let mut shifts = vec![0.0; line.len()];
    for (weight, adapter) in affine() {
        let [gain, shift] = delta.gain_and_shift(adapter, stride);
        add_scaled(&mut gains, weight, row(gain));
        add_scaled(&mut shifts, weight, row(shift));
    }
    line.iter_mut().zip(&gains).zip(&shifts).for_each(|((y, gain), shift)| *y = *y * gain + shift);
}

/// line += Σ z·b, for the columns of row n
fn expand(delta: &DeltaData<'_>, n: usize, columns: Columns, line: &mut [f32]) {
    let Columns { first, stride } = columns;
    let f = line.len();
    let blocks = delta.mixes[delta.rows[n].mix as usize].active();
    // Column ranges of the parts that this slice of the matrix touches.
    let edges = [0, delta.parts[0], delta.parts[1], usize::MAX];
    for part in 0..3 {
        let (from, to) = (edges[part].max(first), edges[part + 1].min(first + f));
        if from >= to {
            continue;
        }
        let partials = delta.z_of(n, part);
        let z = |r: usize| partials[r..].iter().step_by(delta.ranks).sum::<f32>();
        let line = &mut line[from - first..to - first];
        let row = |r: usize| &delta.b[r * stride + from..][..to - from];
        for block in blocks {
            let (mut r, end) = (block.range().start, block.range().end);
            while r + 4 <= end {
                add_four(
                    line,
                    [z(r), z(r + 1), z(r + 2), z(r + 3)],
                    [row(r), row(r + 1), row(r + 2), row(r + 3)],
                );
                r += 4;
            }
            (r..end).for_each(|r| add_scaled(line, z(r), row(r)));
        }
    }
}

/// Rows of W turned at once: they stay in the second cache.
const TURNED: usize = 64;

/// What [`product`] does for some columns, by turning W, which pays for many rows.
///
/// # Safety
///
/// Nobody else uses these columns of y meanwhile.
unsafe fn many_rows(
    x: &[f32],
    weight: WeightData<'_>,
    part: Range<usize>,
    bias: Option<&[f32]>,
    columns: Columns,
    accumulate: bool,
    y: Shared<'_, f32>,
) {
    let c = weight.c;
    let n = x.len() / c;
    let (first, stride) = (columns.first + part.start, columns.stride);
    for row in 0..n {
        // SAFETY: as the caller says.
        let y = unsafe { y.slice(row * stride + first, part.len()) };
        if !accumulate {
            y.fill(0.0);
        }
        if let Some(bias) = bias {
            add_scaled(y, 1.0, &bias[first..][..part.len()]);
        }
    }
    let x = Window { data: x, first: 0, stride: c };
    let (mut space, mut turned) = (Vec::new(), vec![0.0; c * TURNED]);
    for j0 in part.clone().step_by(TURNED) {
        let width = TURNED.min(part.end - j0);
        let rows = weight.read(j0, width, &mut space);
        for (k, line) in turned.chunks_exact_mut(TURNED).enumerate() {
            line.iter_mut().zip(rows.iter().skip(k).step_by(c)).for_each(|(to, from)| *to = *from);
        }
        // SAFETY: as before.
        unsafe { add_product(x, n, c, |k| &turned[k * TURNED..][..width], y, columns.first + j0, stride) };
    }
}

/// y[:, first..first + F] = x · Wᵀ (+ bias) (+ y)
fn product(
    pool: &Pool,
    x: &[f32],
    weight: WeightData<'_>,
    bias: Option<&[f32]>,
    columns: Columns,
    accumulate: bool,
    rounds: bool,
    y: &mut [f32],
) {
    let (f, c) = (weight.rows(), weight.c);
    let (n, y) = (x.len() / c, Shared::new(y));
    let put = |row: usize, col: usize, dots: &[f32]| {
        let col = columns.first + col;
        // SAFETY: nobody else computes these columns.
        let y = unsafe { y.slice(row * columns.stride + col, dots.len()) };
        for (i, (y, dot)) in y.iter_mut().zip(dots).enumerate() {
            let held = if accumulate { *y } else { 0.0 };
            *y = dot + bias.map_or(0.0, |b| b[col + i]) + held;
        }
    };
    if rounds && integer::product(pool, x, weight, put).is_some() {
        return;
    }
    if n > FEW_ROWS {
        return pool.split(f, TURNED, n * f * c, |part| {
            // SAFETY: parts have different columns.
            unsafe { many_rows(x, weight, part, bias, columns, accumulate, y) };
        });
    }
    let xs = |row: usize| &x[row * c..][..c];
    let pairs = n - n % 2;
    pool.split(f, LINE, n * f * c, |part| {
        let mut space = Vec::new();
        for col in part {
            let w = weight.read(col, 1, &mut space);
            for row in (0..pairs).step_by(2) {
                let [a, b] = long_dots([xs(row), xs(row + 1)], w);
                put(row, col, &[a]);
                put(row + 1, col, &[b]);
            }
            if pairs < n {
                put(pairs, col, &long_dots([xs(pairs)], w));
            }
        }
    });
}
