//! A step on which a kernel is tried, with all it reads. What it is made of is `known_cases`'.
//! Not the answer.

use crate::ops::Op;
use crate::plan::{TensorId, Tensors};

use super::kernels::Kernel;
use super::known_cases::Made;
use super::ops;

/// A step, its tensors' contents, and its rows.
#[derive(Debug)]
pub struct Case {
    /// The step that the kernel computes.
    pub op: Op,
    /// Of all its tensors, outputs included.
    pub contents: Vec<(TensorId, Vec<u32>)>,
    /// How many rows.
    pub n: usize,
}

impl Case {
    /// The kernel's, in tensors declared behind those that are there.
    pub fn of(kernel: &Kernel, tensors: &mut Tensors) -> Self {
        let mut made = Made::new(tensors);
        Self { op: ops::case(kernel, &mut made), contents: made.contents, n: made.n }
    }
}
