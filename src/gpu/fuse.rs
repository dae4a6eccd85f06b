//! Which steps of a plan one launch computes: of one row, a norm in front of a map, and behind it an activation, or
//! what parts its output into q, k and v.
//! They change no bit of what a plan leaves behind; only what lies between them is not written.

use crate::activation::Activation as Function;
use crate::ops::{Activation, Delta, Growth, Linear, Norm, Op, Slice, SplitQkv};
use crate::plan::{Dtype, Plan, TensorId, Tensors};

use super::kernels::Kernel;
use super::known_cases::{ADAPTERS, D, F, H, K, Made, R, S, columns};
use super::launch::{Dispatch, Target};
use super::ops::{dispatches, linear, split_qkv, work};

/// The launches of a plan, in order, each with its work. `lanes` is the override `LANES`.
pub fn launches(plan: &Plan, tensors: &Tensors, lanes: u32) -> Vec<(Dispatch, u64)> {
    let (n, mut steps) = (plan.n(), plan.steps());
    let mut all = Vec::new();
    while let [first, ..] = steps {
        // A software adapter does everything one after the other: it has no use for fewer launches.
        let fits = n == 1 && lanes > 1;
        let (count, launches) = match fits.then(|| Fused::starting(steps, tensors)).flatten() {
            Some(fused) => (fused.count(), vec![fused.launch(&Target::new(tensors, n, lanes))]),
            None => (1, dispatches(first, tensors, n, lanes)),
        };
        let (done, rest) = steps.split_at(count);
        // The first launch stands for all of it.
        let works =
            [done.iter().map(|op| work(op, tensors, n)).sum()].into_iter().chain(std::iter::repeat(0));
        all.extend(launches.into_iter().zip(works));
        steps = rest;
    }
    all
}

/// A map with what one launch computes beside it.
struct Fused<'a> {
    norm: Option<&'a Norm>,
    linear: &'a Linear,
    then: Option<Then<'a>>,
}

/// What reads the map's output.
enum Then<'a> {
    Activation(&'a Activation),
    SplitQkv(&'a SplitQkv),
}

impl<'a> Fused<'a> {
    /// The steps at the head of a list that are one launch; `None` if the first is one of its own.
    fn starting(steps: &'a [Op], tensors: &Tensors) -> Option<Self> {
        let (norm, linear, behind) = match steps {
            [Op::Norm(norm), Op::Linear(linear), behind @ ..] => (Some(norm), linear, behind),
            [Op::Linear(linear), behind @ ..] => (None, linear, behind),
            _ => return None,
        };
        if !tensors.get(linear.x).row_len().is_multiple_of(4) {
            return None;
        }
        // The norm's weight takes the place of a bias.
        let goes_before = |norm: &Norm| {
            is_rms(norm) && norm.y == linear.x && linear.bias.is_none() && is_between(norm.y, behind)
        };
        if !norm.is_none_or(goes_before) {
            return None;
        }
        let then = behind.split_first().and_then(|(next, behind)| {
            let is_whole = tensors.get(linear.weight.tensor).shape[0] == tensors.get(linear.y).row_len();
            let goes = is_whole && !linear.accumulate && is_between(linear.y, behind);
            Then::of(linear, next, tensors).filter(|_| goes)
        });
        let fused = Self { norm, linear, then };
        // Its workgroups may not write what others of them still read.
        let x = norm.map_or(linear.x, |norm| norm.x);
        let is_apart = !steps[fused.count() - 1].writes().contains(&x);
        (fused.count() > 1 && is_apart).then_some(fused)
    }

    fn count(&self) -> usize {
        1 + usize::from(self.norm.is_some()) + usize::from(self.then.is_some())
    }

    fn launch(&self, target: &Target) -> Dispatch {
        match self.then {
            Some(Then::SplitQkv(split)) => split_qkv::fused(split, self.linear, self.norm, target),
            Some(Then::Activation(activation)) => {
                linear::fused(self.linear, self.norm, Some(activation), target)
            }
            None => linear::fused(self.linear, self.norm, None, target),
        }
    }
}

impl<'a> Then<'a> {
    /// The step behind a map, if it can be.
    fn of(linear: &Linear, next: &'a Op, tensors: &Tensors) -> Option<Self> {
        match next {
            Op::Activation(activation) if activation.x == linear.y => Some(Self::Activation(activation)),
            // With adapters there would be more buffers than a kernel may have.
            Op::SplitQkv(split) if split.qkv == linear.y && linear.delta.is_none() => {
                let rotated = tensors.get(split.rope).row_len();
                let in_fours = [split.head_dim, rotated].iter().all(|cols| cols.is_multiple_of(4));
                let is_packed = tensors.get(split.k_cache).dtype.is_packed();
                (in_fours && !is_packed).then_some(Self::SplitQkv(split))
            }
            _ => None,
        }
    }
}

/// Whether it is x̂ · weight alone, and of RMSNorm.
fn is_rms(norm: &Norm) -> bool {
    !norm.centred && !norm.accumulate && norm.bias.is_none() && norm.shrink.is_none()
}

/// Whether nobody reads a tensor any more, as far as the steps behind tell: none does before one writes it anew.
fn is_between(id: TensorId, behind: &[Op]) -> bool {
    let Some(next) = behind.iter().find(|op| op.reads().contains(&id) || op.writes().contains(&id)) else {
        return true;
    };
    let is_new = match next {
        Op::Norm(norm) => !norm.accumulate,
        Op::Linear(linear) => !linear.accumulate,
        Op::Activation(_) => true,
        _ => false,
    };
    is_new && !next.reads().contains(&id)
}

/// Steps on a few made-up numbers that are one launch, as [`Launch::case`](super::launch::Launch::case).
pub(super) fn case(made: &mut Made, kernel: &Kernel) -> Vec<Op> {
    made.n = 1;
    let cols = columns(kernel.dtype);
    let (rows, x, weight, xn) = (made.rows(), made.f32(&[1, cols]), made.f32(&[cols]), made.f32(&[1, cols]));
    let norm =
        Norm { x, weight, bias: None, y: xn, eps: 0.125, centred: false, accumulate: false, shrink: None }
            .into();
    let is_split = kernel.name == split_qkv::FUSED.name;
    let f = if is_split { (H + 2 * K) * D } else { F };
    let weight = Slice { tensor: made.weight(kernel.dtype, f, cols), first: 0 };
    let map = Linear { x: xn, weight, bias: None, y: made.f32(&[1, f]), accumulate: false, delta: None };
    if is_split {
        let split = SplitQkv {
            rows,
            qkv: map.y,
            rope: made.f32(&[S, D - 8]),
            q: made.f32(&[1, H * D]),
            k_cache: made.cache(Dtype::F32, D),
            v_cache: made.cache(Dtype::F32, D),
            head_dim: D,
            grouped: false,
            neighbours: false,
            growth: Growth::default(),
        };
        return vec![norm, map.into(), split.into()];
    }
    let (mixes, z, b) = (made.mixes(), made.f32(&[1, 2 * R]), made.f32(&[R + 2 * ADAPTERS, F]));
    let delta = Some(Delta { rows, mixes, z, b, ranks: R, partials: 1, parts: [F / 2, usize::MAX] });
    let activation = Activation { x: map.y, y: made.f32(&[1, F / 2]), kind: Function::Silu, gated: true };
    vec![norm, Linear { delta, ..map }.into(), activation.into()]
}
