//! A run of one op on a backend, from inputs to outputs that are compared.
//! Which ops and which numbers, the tests say.

use lorakeet::backend::{Backend, Prepared};
use lorakeet::ops::{Growth, Op};
use lorakeet::plan::{Dtype, Plan, TensorId, Tensors};

use super::{Case, Fixture, Tolerance, assert_close};

/// Copies and one addition or multiplication: the last bit.
pub(crate) const EXACT: Tolerance = Tolerance { abs: 1e-6, rel: 1e-6 };
/// Sums of up to a few hundred products of order one, in another order than PyTorch's.
pub(crate) const SUMS: Tolerance = Tolerance { abs: 2e-5, rel: 2e-5 };
/// exp and tanh on devices whose versions are good to 1e-5 or so.
pub(crate) const FUNCTIONS: Tolerance = Tolerance { abs: 2e-5, rel: 5e-5 };

/// A file of `tests/fixtures`, by its folder and name.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! fixture {
    ($name:literal) => {
        $crate::common::Fixture::new(include_bytes!(concat!("../fixtures/", $name, ".safetensors")))
    };
}
#[allow(unused_imports, reason = "each test binary uses its own part")]
pub(crate) use fixture;

/// Runs `body` for every case on each of some backends.
pub(crate) async fn on_all<O: Into<Op>>(
    backends: &mut [(&'static str, Backend)],
    op: &str,
    fixture: &Fixture<'_>,
    tolerance: Tolerance,
    body: impl Fn(&Case, &mut OneOp) -> (O, usize),
) {
    for (i, case) in fixture.cases().enumerate() {
        let mut one = OneOp::default();
        let (step, n) = body(&case, &mut one);
        let step = step.into();
        for (name, backend) in &mut *backends {
            one.check(backend, &format!("{op} case {i} on {name}"), step.clone(), n, tolerance).await;
        }
    }
}

/// Rows of the base.
pub(crate) fn rows(tokens: &[u32], pos: &[u32], slot: &[u32]) -> Vec<u32> {
    let row = |n: usize| [tokens[n], pos[n], slot[n], 0];
    (0..pos.len()).flat_map(row).collect()
}

/// An output that starts as `before` if it is added to, as NaN if it is overwritten.
pub(crate) fn output(
    one: &mut OneOp,
    name: &str,
    shape: &[usize],
    before: &Option<Vec<f32>>,
    want: &[f32],
) -> TensorId {
    match before {
        Some(before) => one.output_over(name, shape, before, want),
        None => one.output(name, shape, want),
    }
}

/// A run of one op: inputs, and outputs with what they must hold afterwards.
#[derive(Default)]
pub(crate) struct OneOp {
    tensors: Tensors,
    contents: Vec<(TensorId, Vec<u32>)>,
    wanted: Vec<(TensorId, Vec<f32>, usize)>,
}

impl OneOp {
    pub(crate) fn f32(&mut self, name: &str, shape: &[usize], values: &[f32]) -> TensorId {
        let id = self.tensors.declare(name, Dtype::F32, shape).expect("small");
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.contents.push((id, bytemuck::cast_slice(values).to_vec()));
        id
    }

    pub(crate) fn u32(&mut self, name: &str, shape: &[usize], values: &[u32]) -> TensorId {
        let id = self.tensors.declare(name, Dtype::U32, shape).expect("small");
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.contents.push((id, values.to_vec()));
        id
    }

    /// A weight, or a cache, whose rows are packed already.
    pub(crate) fn packed(&mut self, name: &str, dtype: Dtype, shape: &[usize], words: &[u32]) -> TensorId {
        let id = self.tensors.declare(name, dtype, shape).expect("small");
        assert_eq!(words.len(), self.tensors.get(id).words(), "{name}");
        self.contents.push((id, words.to_vec()));
        id
    }

    /// Words of one of its tensors.
    pub(crate) fn words(&self, id: TensorId) -> usize {
        self.tensors.get(id).words()
    }

    /// An output that starts as NaN and has a row more than will be written.
    pub(crate) fn output(&mut self, name: &str, shape: &[usize], want: &[f32]) -> TensorId {
        let nan = vec![f32::NAN; want.len()];
        self.output_over(name, shape, &nan, want)
    }

    /// An output that starts as `before`, and has a row more than will be written.
    pub(crate) fn output_over(
        &mut self,
        name: &str,
        shape: &[usize],
        before: &[f32],
        want: &[f32],
    ) -> TensorId {
        let mut shape = shape.to_vec();
        shape[0] += 1;
        let tail: usize = shape[1..].iter().product();
        let values = [before, &vec![f32::NAN; tail][..]].concat();
        let id = self.f32(name, &shape, &values);
        self.wanted.push((id, want.to_vec(), tail));
        id
    }

    /// These steps on `n` rows.
    pub(crate) fn plan(&self, steps: &[Op], n: usize) -> Plan {
        let mut plan = Plan::new(n);
        steps.iter().for_each(|op| plan.push(&self.tensors, op.clone()));
        plan
    }

    /// Uploads everything.
    pub(crate) fn upload(&self, backend: &mut Backend) {
        backend.allocate(&self.tensors).expect("small");
        self.contents.iter().for_each(|(id, words)| backend.upload(*id, 0, words));
    }

    /// Uploads everything and makes `op` on `n` rows ready to run.
    pub(crate) fn prepare(&self, backend: &mut Backend, op: impl Into<Op>, n: usize) -> Prepared {
        self.upload(backend);
        backend.prepare(&self.plan(&[op.into()], n)).expect("a valid kernel")
    }

    /// Runs `op` on `n` rows and compares every output; its tail must be untouched.
    pub(crate) async fn check(
        &self,
        backend: &mut Backend,
        what: &str,
        op: impl Into<Op>,
        n: usize,
        tolerance: Tolerance,
    ) {
        let prepared = self.prepare(backend, op, n);
        backend.run(&prepared, 1);
        for (id, want, tail) in &self.wanted {
            let got = backend.read(*id, 0, want.len() + tail).await.expect("a result");
            let got: &[f32] = bytemuck::cast_slice(&got);
            let name = format!("{what} {}", self.tensors.get(*id).name);
            assert_close(&name, &got[..want.len()], want, tolerance);
            assert!(got[want.len()..].iter().all(|x| x.is_nan()), "{name}: wrote past its end");
        }
    }
}

/// Rows of [q heads | k heads | v heads] by groups instead: H / K heads of q, then k, then v, K times.
pub(crate) fn by_group(rows: &[f32], [h, k, d]: [usize; 3]) -> Vec<f32> {
    let of_group = |g: usize| (g * h / k..(g + 1) * h / k).chain([h + g, h + k + g]);
    let row = |row: &[f32]| -> Vec<f32> {
        (0..k).flat_map(of_group).flat_map(|head| row[head * d..][..d].to_vec()).collect()
    };
    rows.chunks_exact((h + 2 * k) * d).flat_map(row).collect()
}

/// Heads of D elements whose first E are in pairs of neighbours, of such as have the second of each pair E/2 behind
/// the first.
pub(crate) fn neighbours(heads: &[f32], d: usize, e: usize) -> Vec<f32> {
    let from = |i: usize| if i < e { i % 2 * (e / 2) + i / 2 } else { i };
    heads.chunks_exact(d).flat_map(|head| (0..d).map(move |i| head[from(i)])).collect()
}

/// The same of the heads of q and k in rows of [q heads | k heads | v heads].
pub(crate) fn qk_neighbours(rows: &[f32], [h, k, d, e]: [usize; 4]) -> Vec<f32> {
    let row = |row: &[f32]| [neighbours(&row[..(h + k) * d], d, e), row[(h + k) * d..].to_vec()].concat();
    rows.chunks_exact((h + 2 * k) * d).flat_map(row).collect()
}

/// Queries of heads (N, H·D) as much larger as they grow with their positions.
pub(crate) fn grown(q: &[f32], pos: &[u32], growth: Growth) -> Vec<f32> {
    let factor = |pos: u32| 1.0 + f64::from(growth.beta) * f64::from(1 + pos / growth.every).ln();
    let grow = |(q, &pos): (&f32, &u32)| (f64::from(*q) * factor(pos)) as f32;
    let cols = q.len() / pos.len();
    q.iter().zip(pos.iter().flat_map(|pos| std::iter::repeat_n(pos, cols))).map(grow).collect()
}
