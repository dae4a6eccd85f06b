//! What adapters add to an embedding.
//! The base's is `embed`.

use super::{Call, Fit, Operation, Replaced, Shapes, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y[n] ← y[n] ∘ (1 + Σ γ·gain) + scale · (Σ γ·shift + Σ γ·a[:, token[n]]·b + Σ γ·deltas[map[token[n]]]),
/// over the adapters of row n's mix
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedDelta {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (mixes) see [`Mix`](crate::control::Mix)
    pub mixes: TensorId,
    /// (R, V)
    pub a: TensorId,
    /// (R + 2·adapters, C), as in [`Delta`](super::Delta)
    pub b: TensorId,
    /// R; 0 where no adapter acts through a and b
    pub ranks: usize,
    /// Rows of the embedding that are replaced; `None` where none are.
    pub replaced: Option<Replaced>,
    /// That of [`Embed`](super::Embed).
    pub scale: f32,
    /// (N, C), read and written
    pub y: TensorId,
}

impl Operation for EmbedDelta {
    fn reads(&self) -> Vec<TensorId> {
        let replaced = self.replaced.map(|r| [r.map, r.deltas]);
        [self.rows, self.mixes, self.a, self.b].into_iter().chain(replaced.into_iter().flatten()).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let Self { rows, mixes, a, b, ranks, replaced, y, .. } = *self;
        shapes.rows(rows)?;
        shapes.activations(&[y])?;
        shapes.mixes(mixes)?;
        if ranks > 0 {
            demand(shapes.lines(a) == ranks && shapes.lines(b) >= ranks, "a and b differ in ranks")?;
            demand(shapes.cols(b) == shapes.cols(y), "b and y differ in C")?;
        }
        let fits = replaced.is_none_or(|r| shapes.cols(r.deltas) == shapes.cols(y));
        demand(fits, "deltas and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        let (rows, mixes) = (call.rows(self.rows), call.mixes(self.mixes));
        let (a, b, c) = (call.f32(self.a), call.f32(self.b), call.cols(self.y));
        let replaced = self.replaced.map(|r| r.data(call));
        twin::embed_delta::embed_delta(rows, mixes, a, b, self.ranks, replaced, self.scale, c, y);
    }
}
