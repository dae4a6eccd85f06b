//! The launch of `norm`.
//! What it computes is said by `crate::ops::Norm`.

use crate::ops::Norm;
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, Made};
use super::super::launch::{Dispatch, Launch, Target, params};

params! {
    c: u32, eps: f32, centred: u32, with_bias: u32, accumulate: u32,
    ranks: u32, rows_of_a: u32, z_cols: u32,
}

/// y = x̂ · weight (+ bias), and z of the adapters that read it
pub(crate) const KERNEL: Kernel = kernel!("norm", 64, RMS, REDUCE, LANES, RANKS, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Norm {
    fn launch(&self, target: &Target) -> Dispatch {
        let rows_of_a = self.shrink.map_or(0, |s| target.lines(s.a));
        let params = Params {
            c: target.cols(self.x),
            eps: self.eps,
            centred: self.centred.into(),
            with_bias: self.bias.is_some().into(),
            accumulate: self.accumulate.into(),
            ranks: self.shrink.map_or(0, |s| s.ranks as u32),
            rows_of_a,
            z_cols: self.shrink.map_or(0, |s| target.cols(s.z)),
        };
        let kernel = KERNEL.on(target.lanes);
        Dispatch::new(self, kernel, &params, [1 + target.fours(kernel, rows_of_a), target.n, 1])
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let shrink = self.shrink.map_or([None; 4], |s| [s.rows, s.mixes, s.a, s.z].map(Some));
        let [rows, mixes, a, z] = shrink;
        vec![Some(self.x), Some(self.weight), self.bias, rows, mixes, a, Some(self.y), z]
    }

    fn work(&self, target: &Target) -> u64 {
        let norm = u64::from(target.n) * u64::from(target.cols(self.y));
        norm + self.shrink.map_or(0, |shrink| target.matrix(shrink.a))
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let rows = made.rows();
        Self {
            x: made.f32(&[made.n, C]),
            weight: made.f32(&[C]),
            bias: Some(made.f32(&[C])),
            y: made.f32(&[made.n, C]),
            eps: 0.125,
            centred: true,
            accumulate: false,
            shrink: Some(made.shrink(rows, C, 2, 1)),
        }
    }
}
