//! Gains and shifts of adapters on activations.
//! Those on a linear map's output are part of its `Delta`.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// x[n] ← x[n] ∘ (1 + Σ γ·gain) + Σ γ·shift, over the adapters of row n's mix
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (2·adapters, C) = [gains; shifts]
    pub gains: TensorId,
    /// (N, C), read and written
    pub x: TensorId,
}

impl Operation for Affine {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.mixes, self.gains]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        shapes.activations(&[self.x])?;
        shapes.mixes(self.mixes)?;
        let fits =
            shapes.cols(self.gains) == shapes.cols(self.x) && shapes.lines(self.gains).is_multiple_of(2);
        demand(fits, "gains is not (2·adapters, C)")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [x] = outputs(out);
        let (rows, mixes) = (call.rows(self.rows), call.mixes(self.mixes));
        twin::affine::affine(rows, mixes, call.f32(self.gains), call.cols(self.x), x);
    }
}
