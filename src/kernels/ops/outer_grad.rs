//! Gradients of adapters' matrices.
//! Those by activations are `shrink_grad` and `expand_grad`.

use super::{Call, Fit, Operation, Shapes, demand, outputs, run_version};
use crate::tensor::TensorId;
use crate::twin::linear::Columns;

/// g[g_first + r·V + j] += Σ u[n, u_first + r]·v[n, j] over the active rows n, for r < `count`
/// and j in `cols`, of each of some products of a pair of u and v.
///
/// With u = dz and v = x it is the gradient of A, with u = z and v = dy that of B. γ is in z
/// and in dz, so both are exact. Every active row's mix must have these ranks switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct OuterGrad {
    /// (N, 4) u32, see [`Row`](crate::control::Row)
    pub rows: TensorId,
    /// u (N, ≥ u_first + count) and v (N, V): one pair or two.
    pub pairs: Vec<[TensorId; 2]>,
    /// Gradients, of any shape.
    pub g: TensorId,
    /// At most [`MOST`](Self::MOST), which do not overlap in g.
    pub products: Vec<Product>,
}

/// One product of an [`OuterGrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// Of which pair.
    pub pair: usize,
    /// First column of u.
    pub u_first: usize,
    /// Rows of the gradient.
    pub count: usize,
    /// First and end of the columns of v.
    pub cols: [usize; 2],
    /// The element of g where the gradient begins, all V columns wide.
    pub g_first: usize,
}

impl OuterGrad {
    /// Those of A and of B at three fused maps.
    pub const MOST: usize = 6;
}

impl Operation for OuterGrad {
    fn reads(&self) -> Vec<TensorId> {
        [self.rows].into_iter().chain(self.pairs.iter().flatten().copied()).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        vec![self.g]
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        shapes.rows(self.rows)?;
        self.pairs.iter().try_for_each(|pair| shapes.activations(pair))?;
        demand((1..=2).contains(&self.pairs.len()), "expected one pair or two")?;
        demand((1..=Self::MOST).contains(&self.products.len()), "no product, or too many")?;
        for &Product { pair, u_first, count, cols: [first, end], g_first } in &self.products {
            let &[u, v] = self.pairs.get(pair).ok_or("no such pair")?;
            demand(u_first + count <= shapes.cols(u), "u has too few columns")?;
            demand(first < end && end <= shapes.cols(v) && count > 0, "columns outside v")?;
            let last = g_first + (count - 1) * shapes.cols(v) + end;
            demand(last <= shapes.len(self.g), "g has too few elements")?;
        }
        Ok(())
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let [g] = outputs(out);
        for &Product { pair, u_first, count, cols: [first, end], g_first } in &self.products {
            let [u, v] = self.pairs[pair];
            let u = (call.head(u), Columns { first: u_first, stride: call.cols(u) });
            let v = (call.head(v), Columns { first, stride: call.cols(v) });
            run_version!(call, outer_grad(call.rows(self.rows), u, v, count, end - first, &mut g[g_first..]));
        }
    }
}
