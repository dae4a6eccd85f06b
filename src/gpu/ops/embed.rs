//! The launch of `embed`.
//! What it computes is said by `crate::ops::Embed`.

use crate::ops::{Embed, Slice};
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{F, Made, S, columns};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, first: u32, table_rows: u32, scale: f32, with_positions: u32 }

/// y[n] = table[token[n]] (+ positions[pos[n]])
pub(crate) const KERNEL: Kernel = kernel!("embed" over WEIGHT_F32, 64, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Embed {
    fn launch(&self, target: &Target) -> Dispatch {
        let (c, table) = (target.cols(self.y), self.table.tensor);
        let params = Params {
            c,
            first: self.table.first as u32,
            table_rows: target.lines(table),
            scale: self.scale,
            with_positions: self.positions.is_some().into(),
        };
        let kernel = KERNEL.over(target.dtype(table));
        Dispatch::new(self, kernel, &params, target.threads(kernel, c))
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        vec![Some(self.rows), Some(self.table.tensor), self.positions, Some(self.y)]
    }

    fn case(made: &mut Made, &Kernel { dtype, .. }: &Kernel) -> Self {
        let cols = columns(dtype);
        Self {
            rows: made.rows(),
            table: Slice { tensor: made.weight(dtype, F - 10, cols), first: 5 },
            scale: 1.0,
            positions: Some(made.f32(&[S, cols])),
            y: made.f32(&[made.n, cols]),
        }
    }
}
