//! Twin of `shaders/linear.wgsl` and `shaders/linear_vec.wgsl`.

use super::weight::WeightData;
use crate::control::{Mix, Row};

/// Where the columns of one [`linear`] lie in y.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// First column written.
    pub(crate) first: usize,
    /// Columns of a row of y.
    pub(crate) stride: usize,
}

/// What adapters add; the fields of [`Delta`](crate::ops::Delta) with their contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeltaData<'a> {
    /// (N, 4)
    pub(crate) rows: &'a [Row],
    /// (mixes)
    pub(crate) mixes: &'a [Mix],
    /// (N, z_cols)
    pub(crate) z: &'a [f32],
    /// Columns of z.
    pub(crate) z_cols: usize,
    /// (R + 2·adapters, stride)
    pub(crate) b: &'a [f32],
    /// R
    pub(crate) ranks: usize,
    /// Partial sums that make up each z.
    pub(crate) partials: usize,
    /// First columns of the second and third part.
    pub(crate) parts: [usize; 2],
}

impl DeltaData<'_> {
    /// Which part a column belongs to.
    pub(crate) fn part(&self, column: usize) -> usize {
        self.parts.iter().filter(|&&first| column >= first).count()
    }

    /// Rows of `b` that hold the gain and the shift of an adapter.
    pub(crate) fn gain_and_shift(&self, adapter: usize, stride: usize) -> [usize; 2] {
        let adapters = (self.b.len() / stride - self.ranks) / 2;
        [self.ranks + adapter, self.ranks + adapters + adapter]
    }

    /// The first of the partial sums of row n's z for a part; the others are R apart.
    pub(crate) fn z_of(&self, n: usize, part: usize) -> &[f32] {
        &self.z[n * self.z_cols + part * self.partials * self.ranks..][..self.partials * self.ranks]
    }

    /// y·(1 + Σ γ·gain) + Σ γ·shift + Σ z·b
    fn apply(&self, n: usize, column: usize, stride: usize, y: f64) -> f64 {
        let at = |row: usize| f64::from(self.b[row * stride + column]);
        let z = self.z_of(n, self.part(column));
        let whole = |r: usize| z.iter().skip(r).step_by(self.ranks).map(|&z| f64::from(z)).sum::<f64>();
        let (mut gain, mut sum) = (1.0, 0.0);
        for block in self.mixes[self.rows[n].mix as usize].active() {
            if let Some(adapter) = block.affine() {
                let [gain_row, shift_row] = self.gain_and_shift(adapter, stride);
                gain += f64::from(block.weight) * at(gain_row);
                sum += f64::from(block.weight) * at(shift_row);
            }
            sum += block.range().map(|r| whole(r) * at(r)).sum::<f64>();
        }
        y * gain + sum
    }
}

/// y[:, first..first + F] = delta(x · Wᵀ) (+ bias) (+ y)
///
/// x (N, C), weight (F, C), bias (stride) -> y (N, stride). With `accumulate` what y holds is
/// added.
pub(crate) fn linear(
    x: &[f32],
    weight: WeightData<'_>,
    bias: Option<&[f32]>,
    columns: Columns,
    accumulate: bool,
    delta: Option<DeltaData<'_>>,
    y: &mut [f32],
) {
    let Columns { first, stride } = columns;
    let mut space = Vec::new();
    for f in 0..weight.rows() {
        let w = weight.read(f, 1, &mut space);
        let column = first + f;
        for (n, (x, y)) in x.chunks_exact(weight.c).zip(y.chunks_exact_mut(stride)).enumerate() {
            let dot: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            let adapted = delta.map_or(dot, |delta| delta.apply(n, column, stride, dot));
            let bias = bias.map_or(0.0, |b| f64::from(b[column]));
            let held = if accumulate { f64::from(y[column]) } else { 0.0 };
            y[column] = (adapted + bias + held) as f32;
        }
    }
}
