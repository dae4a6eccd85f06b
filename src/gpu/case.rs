//! The steps on which a kernel is tried, with all they read. What they are made of is `known_cases`'.
//! Not the answer.

use crate::ops::Op;
use crate::plan::{Plan, TensorId, Tensors};

use super::kernels::Kernel;
use super::known_cases::Made;
use super::ops::{linear, split_qkv};
use super::{fuse, ops};

/// A plan, its tensors' contents, and what it is to be judged by.
#[derive(Debug)]
pub struct Case {
    /// The step that the kernel computes, or the steps.
    pub plan: Plan,
    /// Of all its tensors, outputs included.
    pub contents: Vec<(TensorId, Vec<u32>)>,
    /// What the last step writes.
    pub outputs: Vec<TensorId>,
}

impl Case {
    /// The kernel's, in tensors declared behind those that are there.
    pub fn of(kernel: &Kernel, tensors: &mut Tensors) -> Self {
        let mut made = Made::new(tensors);
        let is_fused = [linear::FUSED, split_qkv::FUSED].iter().any(|fused| fused.name == kernel.name);
        let steps = if is_fused { fuse::case(&mut made, kernel) } else { vec![ops::case(kernel, &mut made)] };
        let outputs = steps.last().map_or_else(Vec::new, Op::writes);
        let (mut plan, contents) = (Plan::new(made.n), made.contents);
        steps.into_iter().for_each(|op| plan.push(tensors, op));
        Self { plan, contents, outputs }
    }
}
