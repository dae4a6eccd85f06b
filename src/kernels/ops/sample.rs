//! The draw of the next tokens.
//! Which tokens may be drawn, and how, the host has written before.

use super::{Call, Fit, Operation, Shapes, demand, outputs};
use crate::control::{RING, Sampling};
use crate::tensor::TensorId;
use crate::twin;

/// Draws the next token of every active row and moves the row one position on.
///
/// Reads the row's slot's [`Sampling`]; notes the token in `seen` and, by its position, in
/// `ring`; makes the row inactive on a stop token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// (N, V)
    pub logits: TensorId,
    /// (slots, 12), see [`Sampling`]
    pub sampling: TensorId,
    /// (slots, ⌈V/32⌉) bits, read and written
    pub seen: TensorId,
    /// (N, 4) u32, read and written
    pub rows: TensorId,
    /// (slots, [`RING`]) u32, written
    pub ring: TensorId,
}

impl Operation for Sample {
    fn reads(&self) -> Vec<TensorId> {
        vec![self.logits, self.sampling]
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.seen, self.rows, self.ring]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { logits, sampling, seen, rows, ring } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[logits])?;
        demand(4 * shapes.cols(sampling) == size_of::<Sampling>(), "sampling is not (slots, 12)")?;
        demand(shapes.cols(seen) == shapes.cols(logits).div_ceil(32), "seen is not (slots, ⌈V/32⌉)")?;
        demand(shapes.cols(ring) == RING, "ring is not (slots, RING)")?;
        let slots = shapes.lines(sampling);
        demand(slots == shapes.lines(ring) && slots == shapes.lines(seen), "slots differ")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [seen, rows, ring]: [&mut [u32]; 3] = outputs(out);
        let sampling = bytemuck::cast_slice(call.u32(self.sampling));
        let rows = bytemuck::cast_slice_mut(&mut rows[..4 * call.n]);
        twin::sample::sample(call.head(self.logits), sampling, seen, rows, ring);
    }
}
