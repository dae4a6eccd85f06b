//! What to compute: a list of steps over named tensors, built once and replayed.
//! It knows no architecture and no device.
//! What an op is, one for all, shows `src/kernels/ops/linear.rs`.
//!
//! [`Tensors`] declares every buffer a model needs; a [`Plan`] is a list of [`Op`]s over them
//! for one number of token rows. Shapes are checked when a step is pushed, so backends need
//! not. Between replays only the contents of state tensors change.

use std::fmt;

pub use crate::control::*;
pub use crate::dtype::Dtype;
pub(crate) use crate::ops::Op;
pub use crate::tensor::*;

/// A list of steps for `n` token rows.
#[derive(Clone, Debug)]
pub struct Plan {
    n: usize,
    steps: Vec<Op>,
}

impl Plan {
    /// An empty plan for `n` token rows.
    pub fn new(n: usize) -> Self {
        assert!(n > 0, "a plan needs at least one row");
        Self { n, steps: Vec::new() }
    }

    /// Token rows of one run.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Op] {
        &self.steps
    }

    /// Appends a step. Panics if its shapes do not fit: plans are built by our own code from a
    /// checked config, so a misfit is a bug here and not in the caller's input.
    pub fn push(&mut self, tensors: &Tensors, op: impl Into<Op>) {
        self.add(tensors, op.into());
    }

    fn add(&mut self, tensors: &Tensors, op: Op) {
        if let Err(misfit) = op.check(tensors, self.n) {
            panic!("step {} `{}`: {misfit}", self.steps.len(), op.name());
        }
        self.steps.push(op);
    }

    /// The plan as text, one line a step: `rms_norm x (8, 64), norm.weight (64) -> xn (8, 64)`.
    pub fn display<'a>(&'a self, tensors: &'a Tensors) -> impl fmt::Display + 'a {
        Listing { plan: self, tensors }
    }
}

struct Listing<'a> {
    plan: &'a Plan,
    tensors: &'a Tensors,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan for {} rows", self.plan.n)?;
        for (i, op) in self.plan.steps.iter().enumerate() {
            let names = |ids: Vec<TensorId>| {
                let names = ids.into_iter().map(|id| {
                    let t = self.tensors.get(id);
                    format!("{} {:?}", t.name, t.shape)
                });
                names.collect::<Vec<_>>().join(", ")
            };
            writeln!(f, "{i:4} {:12} {} -> {}", op.name(), names(op.reads()), names(op.writes()))?;
        }
        Ok(())
    }
}
