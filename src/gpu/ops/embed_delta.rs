//! The launch of `embed_delta`.
//! What it computes is said by `crate::ops::EmbedDelta`.

use crate::ops::EmbedDelta;
use crate::plan::TensorId;

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{ADAPTERS, C, F, Made, R};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { c: u32, v: u32, ranks: u32, adapters: u32, with_rows: u32, scale: f32 }

/// y = y · (1 + gains) + shifts + γ ∘ a[token] · b + replaced rows of the active adapters
pub(crate) const KERNEL: Kernel = kernel!("embed_delta", 64, REPLACED, MIX, ROW);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for EmbedDelta {
    fn launch(&self, target: &Target) -> Dispatch {
        let (c, ranks) = (target.cols(self.y), self.ranks as u32);
        let params = Params {
            c,
            v: self.replaced.map_or(target.cols(self.a), |r| target.cols(r.map)),
            ranks,
            adapters: target.lines(self.b).saturating_sub(ranks) / 2,
            with_rows: self.replaced.is_some().into(),
            scale: self.scale,
        };
        Dispatch::new(self, KERNEL, &params, target.threads(KERNEL, c))
    }

    fn bindings(&self) -> Vec<Option<TensorId>> {
        let [map, deltas] = self.replaced.map_or([None; 2], |r| [r.map, r.deltas].map(Some));
        let [rows, mixes, a, b, y] = [self.rows, self.mixes, self.a, self.b, self.y].map(Some);
        vec![rows, mixes, a, b, map, deltas, y]
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        Self {
            rows: made.rows(),
            mixes: made.mixes(),
            a: made.f32(&[R, F]),
            b: made.f32(&[R + 2 * ADAPTERS, C]),
            ranks: R,
            replaced: Some(made.replaced()),
            scale: 1.5,
            y: made.f32(&[made.n, C]),
        }
    }
}
