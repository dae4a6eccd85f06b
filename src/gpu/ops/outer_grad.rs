//! The launch of `outer_grad`.
//! What it computes is said by `crate::ops::OuterGrad`.

use crate::ops::{OuterGrad, Product};
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
    n: u32, n_products: u32, u_cols_0: u32, v_cols_0: u32, u_cols_1: u32, v_cols_1: u32, padding: [u32; 2],
    products: [[u32; 4]; 2 * OuterGrad::MOST],
}

/// g += uᵀ·v over the active rows
pub(crate) const KERNEL: Kernel = kernel!("outer_grad", 64, TILE, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for OuterGrad {
    fn launch(&self, target: &Target) -> Dispatch {
        let [[u_cols_0, v_cols_0], [u_cols_1, v_cols_1]] =
            [0, 1].map(|pair| self.pairs.get(pair).map_or([0; 2], |pair| pair.map(|id| target.cols(id))));
        let n_products = self.products.len() as u32;
        let mut products = [[0; 4]; 2 * Self::MOST];
        let mut first_tile = 0;
        for (lines, product) in products.chunks_exact_mut(2).zip(&self.products) {
            let Product { pair, u_first, count, cols: [first, end], g_first } = *product;
            lines[0] = [pair, u_first, count, g_first].map(|number| number as u32);
            let [across, down, _] = target.tiles(count as u32, (end - first) as u32);
            lines[1] = [first as u32, end as u32, across, first_tile];
            first_tile += across * down;
        }
        let (n, padding) = (target.n, [0; 2]);
        let params = Params { n, n_products, u_cols_0, v_cols_0, u_cols_1, v_cols_1, padding, products };
        Dispatch::new(self, KERNEL, &params, [first_tile, 1, 1])
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let pair = |pair: usize| self.pairs.get(pair).map_or([None; 2], |pair| pair.map(Some));
        [&[Some(self.rows)][..], &pair(0), &pair(1), &[Some(self.g)]].concat()
    }

    fn work(&self, target: &Target) -> u64 {
        let size = |Product { count, cols: [first, end], .. }: &Product| (count * (end - first)) as u64;
        u64::from(target.n) * self.products.iter().map(size).sum::<u64>()
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let rows = made.rows();
        let [u, v] = [made.f32(&[made.n, F]), made.f32(&[made.n, C])];
        let [z, dy] = [made.f32(&[made.n, C]), made.f32(&[made.n, F])];
        let product = |pair, u_first, count, cols, g_first| Product { pair, u_first, count, cols, g_first };
        let products = vec![product(0, 3, 35, [4, 100], 1), product(1, 90, 33, [2, 39], 35 * C + 2)];
        Self { rows, pairs: vec![[u, v], [z, dy]], g: made.f32(&[F, 2 * C]), products }
    }
}
