//! The launch of `adam_w`.
//! What it computes is said by `crate::ops::AdamW`.

use crate::ops::{AdamW, Trained};

use super::super::kernels::{Kernel, kernel};
use super::super::known_cases::{C, F, Made};
use super::super::launch::{Binding, Dispatch, Launch, MOST_WORKGROUPS, Target, params};

params! { n_sums: u32, n_spans: u32, across: u32 }

/// A step of AdamW
pub(crate) const KERNEL: Kernel = kernel!("adam_w", 256, TRAINING, REDUCE);

/// All that compute it.
pub(crate) const KERNELS: &[Kernel] = &[KERNEL];

/// Most parameters of a workgroup: enough that its sum over all gradients' sums is little beside them.
const SPAN: usize = 4096;

impl Launch for AdamW {
    fn launch(&self, target: &Target) -> Dispatch {
        let (begins, mut spans) = (target.first_words(), Vec::new());
        for &Trained { param, first, g_first, len } in &self.params {
            let first = begins[&param] + first;
            for at in (0..len).step_by(SPAN) {
                spans.extend([first + at, g_first + at, SPAN.min(len - at), 0].map(|number| number as u32));
            }
        }
        let n_spans = spans.len() as u32 / 4;
        let across = n_spans.min(MOST_WORKGROUPS);
        let params = Params { n_sums: target.len(self.sums), n_spans, across };
        let grid = [across, n_spans.div_ceil(across), 1];
        let Self { training, sums, g, m, v, params: ref trained } = *self;
        let moments = [training, sums, g, m, v].map(Binding::Tensor);
        let arena = Binding::Around(trained[0].param);
        let bindings = [Binding::Table(spans)].into_iter().chain(moments).chain([arena]).collect();
        Dispatch::new(self, KERNEL, &params, grid).over(bindings)
    }

    fn work(&self, _: &Target) -> u64 {
        8 * self.params.iter().map(|trained| trained.len as u64).sum::<u64>()
    }

    fn case(made: &mut Made, _: &Kernel) -> Self {
        let (training, sums) = (made.training(), made.squares(&[3]));
        let [g, m] = [(); 2].map(|()| made.f32(&[F, 3 * C]));
        let (v, param) = (made.squares(&[F, 3 * C]), made.f32(&[made.n, 6 * C]));
        let trained = |first, g_first, len| Trained { param, first, g_first, len };
        Self { training, sums, g, m, v, params: vec![trained(3, 7, 1000), trained(1100, 1050, 9000)] }
    }
}
