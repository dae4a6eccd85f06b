//! What adapters that replace rows of the head add to logits.
//! Other adapters of the head are a linear map's `Delta`.

use super::{Call, Fit, Operation, Replaced, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// logits[n, token] += Σ γ·deltas[map[token]]·x[n], over the adapters of row n's mix
#[derive(Clone, Debug, PartialEq)]
pub struct HeadDelta {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (N, C)
    pub x: TensorId,
    /// Rows of the head that are replaced.
    pub replaced: Replaced,
    /// (N, V), read and written
    pub logits: TensorId,
}

impl Operation for HeadDelta {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.rows, self.mixes, self.x, self.replaced.map, self.replaced.deltas]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.logits]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, mixes, x, replaced, logits } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[x, logits])?;
        shapes.mixes(mixes)?;
        demand(shapes.cols(replaced.deltas) == shapes.cols(x), "deltas and x differ in C")?;
        demand(shapes.cols(replaced.map) == shapes.cols(logits), "map and logits differ in V")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [logits] = outputs(out);
        let (rows, mixes) = (call.rows(self.rows), call.mixes(self.mixes));
        let (x, replaced) = (call.head(self.x), self.replaced.data(call));
        twin::head_delta::head_delta(rows, mixes, x, replaced, logits);
    }
}
