//! Embedding of tokens.
//! What adapters add to it is `embed_delta`.

use super::{Call, Fit, Operation, Shapes, Slice, demand, outputs};
use crate::tensor::TensorId;
use crate::twin;

/// y[n] = scale · table[token[n]] (+ positions[pos[n]]), for the tokens that `table` holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// (≤ V, C)
    pub table: Slice,
    /// Factor on the table's rows.
    pub scale: f32,
    /// (S, C)
    pub positions: Option<TensorId>,
    /// (N, C)
    pub y: TensorId,
}

impl Operation for Embed {
    fn reads(&self) -> Vec<TensorId> {
        [self.rows, self.table.tensor].into_iter().chain(self.positions).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.y]
    }

    fn weight(&self) -> Option<TensorId> {
        Some(self.table.tensor)
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let c = shapes.cols(self.y);
        shapes.rows(self.rows)?;
        shapes.activations(&[self.y])?;
        demand(shapes.cols(self.table.tensor) == c, "table and y differ in C")?;
        demand(self.positions.is_none_or(|p| shapes.cols(p) == c), "positions and y differ in C")
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [y] = outputs(out);
        let (rows, table) = (call.rows(self.rows), call.weight(self.table.tensor));
        let positions = self.positions.map(|p| call.f32(p));
        twin::embed::embed(rows, table, self.table.first, self.scale, positions, y);
    }
}
