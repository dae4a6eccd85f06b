//! A step of the optimiser.
//! Learning rates and other numbers of it the host has written before.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// A step of AdamW (arXiv:1711.05101, as in `torch.optim`) on `len` parameters, clipped by
/// the norm of all gradients; zeroes their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// (12) u32, see [`Training`](crate::control::Training)
    pub training: TensorId,
    /// (gradients), from [`SquareSum`](super::SquareSum)
    pub sums: TensorId,
    /// Gradients, read and zeroed from `g_first` on.
    pub g: TensorId,
    /// First moments, as g.
    pub m: TensorId,
    /// Second moments, as g.
    pub v: TensorId,
    /// First element of g, m and v.
    pub g_first: usize,
    /// Parameters, read and written from `param_first` on.
    pub param: TensorId,
    /// First element of param.
    pub param_first: usize,
    /// How many.
    pub len: usize,
}

impl Operation for AdamW {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.training, self.sums]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.g, self.m, self.v, self.param]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { training, g, m, v, g_first, param, param_first, len, .. } = *self;
        shapes.training(training)?;
        demand(shapes.len(m) == shapes.len(g) && shapes.len(v) == shapes.len(g), "g, m and v differ")?;
        demand(len > 0 && g_first + len <= shapes.len(g), "g has too few elements")?;
        demand(param_first + len <= shapes.len(param), "param has too few elements")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [g, m, v, param] = outputs(out);
        let [g, m, v] = [g, m, v].map(|moments| &mut moments[self.g_first..][..self.len]);
        let param = &mut param[self.param_first..][..self.len];
        twin::adam_w::adam_w(call.training(self.training), call.f32(self.sums), g, m, v, param);
    }
}
