//! Fast [`linear`](crate::backend::cpu::linear): tiles of 4 x-rows by 4 w-rows for many rows,
//! 1 by 4 for one, so that each weight is loaded once per tile.

use super::super::linear::Columns;
use super::lanes::dots;

/// y[:, first..first + F] = x · Wᵀ (+ bias) (+ y); see the twin.
pub fn linear(
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
