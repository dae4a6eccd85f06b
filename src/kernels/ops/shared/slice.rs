//! A part of a matrix that is cut by its rows.
//! It cuts none.

use crate::tensor::TensorId;

/// A run of rows of a tensor that is too large for one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The rows themselves, `(rows, ..)`.
    pub tensor: TensorId,
    /// Index of its first row in the whole.
    pub first: usize,
}
