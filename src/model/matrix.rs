//! A matrix of the model as tensors of whole rows, one under the other: cut where the type of the rows
//! changes and where one tensor would be too large for the device. What rows mean, `weights` knows.

use crate::error::{Error, Result};
use crate::ops::Slice;
use crate::plan::{Dtype, TensorId, Tensors};

/// A matrix of the model, (rows, cols), or a vector, (rows), where `cols` is 1.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    /// Its tensors, in order; each has the type of its rows.
    pub(crate) slices: Vec<Slice>,
    /// Rows of all of them.
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) cols: usize,
}

impl Matrix {
    /// Declares it in as few tensors as there are runs of one type that fit the device: `parts` are
    /// (rows, their type), top to bottom. A type that a row does not [fit](Dtype::fits) gives way to f32.
    ///
    /// Errors with `Unsupported` if one row alone is above `max_bytes`, `Memory` as
    /// [`Tensors::declare`] does.
    pub(super) fn declare(
        tensors: &mut Tensors,
        name: &str,
        parts: &[(usize, Dtype)],
        cols: usize,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut matrix = Self { slices: Vec::new(), rows: 0, cols };
        let fitting = |&(_, dtype): &(usize, Dtype)| if dtype.fits(cols) { dtype } else { Dtype::F32 };
        for same in parts.chunk_by(|a, b| fitting(a) == fitting(b)) {
            let dtype = same.first().map_or(Dtype::F32, fitting);
            let fit = usize::try_from(max_bytes / (4 * dtype.row_words(cols) as u64)).unwrap_or(usize::MAX);
            if fit == 0 {
                return Err(Error::unsupported(format!(
                    "tensor `{name}`: a row of {cols} exceeds the device's limit"
                )));
            }
            let end = matrix.rows + same.iter().map(|(rows, _)| rows).sum::<usize>();
            while matrix.rows < end {
                let (first, rows) = (matrix.rows, fit.min(end - matrix.rows));
                let shape: &[usize] = if cols == 1 { &[rows] } else { &[rows, cols] };
                let name = if first == 0 { name.to_owned() } else { format!("{name}[{first}..]") };
                matrix.slices.push(Slice { tensor: tensors.declare(name, dtype, shape)?, first });
                matrix.rows += rows;
            }
        }
        Ok(matrix)
    }

    /// The one tensor of a matrix that may not be cut.
    ///
    /// Errors with `Unsupported` if it is.
    pub(super) fn whole(&self, name: &str) -> Result<TensorId> {
        match self.slices[..] {
            [slice] => Ok(slice.tensor),
            _ => Err(Error::unsupported(format!("tensor `{name}` exceeds the device's limit"))),
        }
    }

    /// Rows `first..first + count` as runs: tensor, first row in it, rows.
    pub(super) fn runs(&self, first: usize, count: usize) -> Vec<(TensorId, usize, usize)> {
        let end = first + count;
        let ends = self.slices.iter().skip(1).map(|next| next.first).chain([self.rows]);
        let runs = self.slices.iter().zip(ends).map(|(slice, to)| {
            let (a, b) = (first.max(slice.first), end.min(to));
            (slice.tensor, a.saturating_sub(slice.first), b.saturating_sub(a))
        });
        runs.filter(|(_, _, rows)| *rows > 0).collect()
    }
}

/// Where one checkpoint tensor goes.
#[derive(Debug)]
pub(super) struct Place {
    /// Shape in the checkpoint.
    pub(crate) shape: Vec<usize>,
    pub(crate) target: Matrix,
    /// First row of `target` it fills.
    pub(crate) first: usize,
    /// Type of these rows.
    pub(crate) dtype: Dtype,
    /// Whether checkpoints have it as (in, out).
    pub(crate) transposed: bool,
    /// What is added to a checkpoint's numbers; a GGUF file's have it.
    pub(crate) offset: f32,
    /// Rows of `target` filled so far.
    pub(crate) loaded: usize,
}

impl Place {
    /// Of a table (rows, cols) in f32, whose target is another's.
    pub(crate) fn of_table(rows: usize, cols: usize) -> Self {
        let target = Matrix { slices: Vec::new(), rows, cols };
        let (dtype, transposed) = (Dtype::F32, false);
        Self { shape: vec![rows, cols], target, first: 0, dtype, transposed, offset: 0.0, loaded: 0 }
    }

    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows of `target` it fills.
    pub(crate) fn rows(&self) -> usize {
        self.elements() / self.target.cols
    }

    /// Words of one of them.
    pub(crate) fn row_words(&self) -> usize {
        self.dtype.row_words(self.target.cols)
    }
}
