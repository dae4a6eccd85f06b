//! Fast [`linear`](crate::backend::cpu::linear): tiles of 4 x-rows by 4 w-rows for many rows,
//! 1 by 4 for one, so that each weight is loaded once per tile.

use super::super::linear::{Columns, DeltaData};
use super::lanes::{add_four, add_scaled, dots};

/// y[:, first..first + F] = delta(x · Wᵀ) (+ bias) (+ y); see the twin.
pub fn linear(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    c: usize,
    columns: Columns,
    accumulate: bool,
    delta: Option<DeltaData<'_>>,
    y: &mut [f32],
) {
    // A residual is added last: gains apply to x · Wᵀ alone.
    let Some(delta) = delta else { return product(x, weight, bias, c, columns, accumulate, y) };
    let f = weight.len() / c;
    let mut line = vec![0.0; f];
    for (n, (x, y)) in x.chunks_exact(c).zip(y.chunks_exact_mut(columns.stride)).enumerate() {
        product(x, weight, None, c, Columns { first: 0, stride: f }, false, &mut line);
        adapt(&delta, n, columns, &mut line);
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

/// line ← line·(1 + Σ γ·gain) + Σ γ·shift + Σ z·b, for the columns of one row
fn adapt(delta: &DeltaData<'_>, n: usize, columns: Columns, line: &mut [f32]) {
    let Columns { first, stride } = columns;
    let f = line.len();
    let blocks = delta.mixes[delta.rows[n].mix as usize].active();
    let part_of_b = |row: usize, from: usize, len: usize| &delta.b[row * stride + from..][..len];
    let affine = || blocks.iter().filter_map(|block| Some((block.weight, block.affine()?)));
    if affine().next().is_some() {
        let mut gains = vec![1.0; f];
        for (weight, adapter) in affine() {
            let [gain, _] = delta.gain_and_shift(adapter, stride);
            add_scaled(&mut gains, weight, part_of_b(gain, first, f));
        }
        line.iter_mut().zip(&gains).for_each(|(y, gain)| *y *= gain);
        for (weight, adapter) in affine() {
            let [_, shift] = delta.gain_and_shift(adapter, stride);
            add_scaled(line, weight, part_of_b(shift, first, f));
        }
    }
    // Column ranges of the parts that this slice of the matrix touches.
    let edges = [0, delta.parts[0], delta.parts[1], usize::MAX];
    for part in 0..3 {
        let (from, to) = (edges[part].max(first), edges[part + 1].min(first + f));
        if from >= to {
            continue;
        }
        let z = &delta.z[n * delta.z_cols + part * delta.ranks..];
        let line = &mut line[from - first..to - first];
        let row = |r: usize| part_of_b(r, from, to - from);
        for block in blocks {
            let (mut r, end) = (block.range().start, block.range().end);
            while r + 4 <= end {
                add_four(
                    line,
                    [z[r], z[r + 1], z[r + 2], z[r + 3]],
                    [row(r), row(r + 1), row(r + 2), row(r + 3)],
                );
                r += 4;
            }
            (r..end).for_each(|r| add_scaled(line, z[r], row(r)));
        }
    }
}

/// y[:, first..first + F] = x · Wᵀ (+ bias) (+ y)
fn product(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    c: usize,
    columns: Columns,
    accumulate: bool,
    y: &mut [f32],
) {
    let (n, f) = (x.len() / c, weight.len() / c);
    let put = |y: &mut [f32], row: usize, col: usize, dot: f32| {
        let col = columns.first + col;
        let y = &mut y[row * columns.stride + col];
        let held = if accumulate { *y } else { 0.0 };
        *y = dot + bias.map_or(0.0, |b| b[col]) + held;
    };
    let xs = |row: usize| &x[row * c..][..c];
    let ws = |col: usize| &weight[col * c..][..c];
    let (n4, f4) = (n - n % 4, f - f % 4);
    for col in (0..f4).step_by(4) {
        let w = [ws(col), ws(col + 1), ws(col + 2), ws(col + 3)];
        for row in (0..n4).step_by(4) {
            let tile = dots([xs(row), xs(row + 1), xs(row + 2), xs(row + 3)], w);
            for (i, dots) in tile.iter().enumerate() {
                dots.iter().enumerate().for_each(|(j, &dot)| put(y, row + i, col + j, dot));
            }
        }
        for row in n4..n {
            let [dots] = dots([xs(row)], w);
            dots.iter().enumerate().for_each(|(j, &dot)| put(y, row, col + j, dot));
        }
    }
    for col in f4..f {
        for row in 0..n {
            let [[dot]] = dots([xs(row)], [ws(col)]);
            put(y, row, col, dot);
        }
    }
}
