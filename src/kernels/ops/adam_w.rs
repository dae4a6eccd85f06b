//! A step of the optimiser.
//! Learning rates and other numbers of it the host has written before.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// A step of AdamW (arXiv:1711.05101, as in `torch.optim`) on all that is trained, clipped by
/// the norm of all gradients; zeroes their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// (12) u32, see [`Training`](crate::control::Training)
    pub training: TensorId,
    /// Of all gradients, from [`SquareSum`](super::SquareSum)
    pub sums: TensorId,
    /// Gradients, read and zeroed.
    pub g: TensorId,
    /// First moments, as g.
    pub m: TensorId,
    /// Second moments, as g.
    pub v: TensorId,
    /// What is trained: each number at most once. All of it is in one arena, or in one tensor.
    pub params: Vec<Trained>,
}

/// A range of numbers that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trained {
    /// Where they lie.
    pub param: TensorId,
    /// The first of them there.
    pub first: usize,
    /// Its gradient, and its moments.
    pub g_first: usize,
    /// How many.
    pub len: usize,
}

impl Operation for AdamW {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.training, self.sums]
    }

    fn writes(&self) -> Vec<TensorId> {
        let mut params: Vec<TensorId> = self.params.iter().map(|trained| trained.param).collect();
        params.sort_unstable();
        params.dedup();
        [vec![self.g, self.m, self.v], params].concat()
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { training, g, m, v, params, .. } = self;
        shapes.training(*training)?;
        demand(shapes.len(*m) == shapes.len(*g) && shapes.len(*v) == shapes.len(*g), "g, m and v differ")?;
        let arena = |trained: &Trained| shapes.tensors.get(trained.param).arena;
        let first = params.first().ok_or("nothing is trained")?;
        let together = |next: &Trained| {
            next.param == first.param || arena(next).is_some() && arena(next) == arena(first)
        };
        demand(params.iter().all(together), "parameters are not in one arena")?;
        for &Trained { param, first, g_first, len } in params {
            demand(len > 0 && g_first + len <= shapes.len(*g), "g has too few elements")?;
            demand(first + len <= shapes.len(param), "param has too few elements")?;
        }
        Ok(())
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let (moments, params) = out.split_at_mut(3);
        let [g, m, v] = outputs(moments);
        let places = self.writes().split_off(3);
        for &Trained { param, first, g_first, len } in &self.params {
            let place = places.binary_search(&param).expect("it is written");
            let param = &mut bytemuck::cast_slice_mut(&mut params[place])[first..][..len];
            let [g, m, v] = [&mut *g, &mut *m, &mut *v].map(|moments| &mut moments[g_first..][..len]);
            twin::adam_w::adam_w(call.training(self.training), call.f32(self.sums), g, m, v, param);
        }
    }
}
