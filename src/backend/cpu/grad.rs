//! Runs the steps of backward plans: from a [`GradOp`] to the function of its name.

use crate::plan::{GradOp, TensorId};

use super::linear::Columns;
use super::{Cpu, Kernels, cast};
use super::{expand_grad, fast, linear_grad, outer_grad, shrink_grad};

impl Cpu {
    /// Runs `op` on `n` rows; `outputs` are the tensors it writes.
    pub(super) fn grad_step(&self, op: &GradOp, n: usize, outputs: &mut [Vec<u32>]) {
        let fast = self.kernels == Kernels::Fast;
        let rows = |id: TensorId| -> &[_] { bytemuck::cast_slice(&self.data[id.index()][..4 * n]) };
        let mixes = |id: TensorId| -> &[_] { bytemuck::cast_slice(&self.data[id.index()]) };
        let cols = |id: TensorId| self.tensors.get(id).row_len();
        let (out, _) = outputs.split_first_mut().expect("every op writes");
        match *op {
            GradOp::Linear { dy, weight, dx, accumulate } => {
                let run = if fast { fast::linear_grad } else { linear_grad::linear_grad };
                let columns = Columns { first: weight.first, stride: cols(dy) };
                run(self.head(dy, n), self.f32(weight.tensor), cols(dx), columns, accumulate, cast(out));
            }
            GradOp::Shrink { rows: r, mixes: m, dy, b, dz, ranks, parts } => {
                let run = if fast { fast::shrink_grad } else { shrink_grad::shrink_grad };
                let (dy_data, f) = (self.head(dy, n), cols(dy));
                run(rows(r), mixes(m), dy_data, self.f32(b), f, ranks, parts, cols(dz), cast(out));
            }
            GradOp::Expand { rows: r, mixes: m, dz, a, dx, ranks, accumulate } => {
                let run = if fast { fast::expand_grad } else { expand_grad::expand_grad };
                let (dz_data, z_cols) = (self.head(dz, n), cols(dz));
                run(rows(r), mixes(m), dz_data, self.f32(a), cols(dx), ranks, z_cols, accumulate, cast(out));
            }
            GradOp::Outer { rows: r, u, u_first, v, g_first, count, cols: [first, end], .. } => {
                let run = if fast { fast::outer_grad } else { outer_grad::outer_grad };
                let u = (self.head(u, n), Columns { first: u_first, stride: cols(u) });
                let v = (self.head(v, n), Columns { first, stride: cols(v) });
                run(rows(r), u, v, count, end - first, &mut cast(out)[g_first * v.1.stride..]);
            }
        }
    }
}
