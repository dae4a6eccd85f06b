//! Twin of `shaders/shrink.wgsl`, and of the shrinks that ride in `norm` and `attention`.

use crate::control::{Mix, Row};

/// A [`DownProjection`](crate::ops::DownProjection) with its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShrinkData<'a> {
    /// (N, 4)
    pub(crate) rows: &'a [Row],
    /// (mixes)
    pub(crate) mixes: &'a [Mix],
    /// (parts·R, C)
    pub(crate) a: &'a [f32],
    /// R
    pub(crate) ranks: usize,
    /// Columns of z.
    pub(crate) z_cols: usize,
    /// Pieces of x whose sums stay apart.
    pub(crate) partials: usize,
}

impl ShrinkData<'_> {
    /// For every row, active block, part and piece of a row of `c` columns:
    /// `write(row, γ, the block's first row of A, its first column of z, number of ranks, columns)`
    pub(crate) fn for_each(
        &self,
        c: usize,
        mut write: impl FnMut(usize, f32, usize, usize, usize, std::ops::Range<usize>),
    ) {
        let Self { rows, mixes, a, ranks, z_cols, partials } = *self;
        let (parts, width) = (a.len() / c / ranks, c / partials);
        for (n, row) in rows.iter().enumerate() {
            for block in mixes[row.mix as usize].active() {
                let range = block.range();
                for part in 0..parts {
                    for piece in 0..partials {
                        let z = n * z_cols + (part * partials + piece) * ranks + range.start;
                        let columns = piece * width..(piece + 1) * width;
                        write(n, block.weight, part * ranks + range.start, z, range.len(), columns);
                    }
                }
            }
        }
    }
}

/// z[n, (p·partials + k)·R + r] = γ[r] · A[p·R + r] · x[n], the sum over the k-th piece of x, for
/// the ranks r that row n's mix has switched on
///
/// x (N, C) -> z (N, z_cols). Other ranks are left alone.
pub(crate) fn shrink(x: &[f32], shrink: ShrinkData<'_>, c: usize, z: &mut [f32]) {
    shrink.for_each(c, |n, weight, first, at, count, columns| {
        for r in 0..count {
            let dot: f64 = columns
                .clone()
                .map(|i| f64::from(x[n * c + i]) * f64::from(shrink.a[(first + r) * c + i]))
                .sum();
            z[at + r] = (dot * f64::from(weight)) as f32;
        }
    });
}
