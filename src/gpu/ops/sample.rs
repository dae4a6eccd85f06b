//! The launch of `sample`.
//! What it computes is said by `crate::ops::Sample`.

use bytemuck::Zeroable;

use crate::ops::Sample;
use crate::plan::{RING, Sampling};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{Made, SLOTS};
use super::super::launch::{Dispatch, Launch, Target, params};

params! { v: u32 }

/// Draws the next tokens
pub(crate) const KERNEL: Kernel = kernel!("sample", 256, ROW, REDUCE, NOISE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

impl Launch for Sample {
    fn launch(&self, target: &Target) -> Dispatch {
        Dispatch::new(self, KERNEL, &Params { v: target.cols(self.logits) }, [target.n, 1, 1])
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        // A greedy slot, and one that draws; both have one row.
        made.n = 3;
        let greedy = Sampling { repetition_penalty: 1.5, top_p: 1.0, ..Sampling::zeroed() };
        let draws = Sampling { temperature: 0.5, top_k: 20, top_p: 0.75, min_p: 0.0625, seed: 7, ..greedy };
        let sampling = made.u32(&[SLOTS, 12], bytemuck::cast_slice(&[greedy, draws]));
        // More tokens than a workgroup has invocations.
        let v = 600;
        Self {
            logits: made.f32(&[made.n, v]),
            sampling,
            seen: made.u32(&[SLOTS, v.div_ceil(32)], &[0xf0f0; SLOTS * 19]),
            rows: made.rows(),
            ring: made.u32(&[SLOTS, RING], &[0; SLOTS * RING]),
        }
    }
}
