//! What the tests of arithmetic share: the backends, fixtures, and a comparer that can fail.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod gguf;
pub mod models;
#[cfg(not(target_arch = "wasm32"))]
pub mod stores;

use lorakeet::activation::Activation;
use lorakeet::backend::cpu::{Cpu, Kernels};
#[cfg(not(target_arch = "wasm32"))]
use lorakeet::backend::gpu::kernels::Kernel;
use lorakeet::backend::gpu::{Gpu, GpuOptions};
use lorakeet::backend::{Backend, Prepared};
use lorakeet::format::safetensors::Header;
use lorakeet::ops::Op;
use lorakeet::plan::{Dtype, Plan, TensorId, Tensors};
use serde_json::Value;

/// A set variable turns a missing adapter from a printed skip into a failure.
const REQUIRE_GPU: &str = "LORAKEET_REQUIRE_GPU";

/// A GPU held to the specification's default limits, or `None` with a printed skip.
pub async fn gpu() -> Option<Backend> {
    gpu_with(GpuOptions { default_limits: true, ..GpuOptions::default() }).await
}

/// A GPU opened with `options`, or `None` with a printed skip.
pub async fn gpu_with(options: GpuOptions) -> Option<Backend> {
    match Gpu::open(&options).await {
        Ok(gpu) => Some(Backend::Gpu(Box::new(gpu))),
        Err(e) => {
            let required =
                option_env!("LORAKEET_REQUIRE_GPU").is_some() || std::env::var_os(REQUIRE_GPU).is_some();
            assert!(!required, "{REQUIRE_GPU} is set: {e}");
            println!("skipped: {e}");
            None
        }
    }
}

/// Every implementation there is on this machine.
pub async fn backends() -> Vec<(&'static str, Backend)> {
    let mut list = vec![
        ("twin", Backend::Cpu(Cpu::new(Kernels::Twin))),
        ("fast", Backend::Cpu(Cpu::new(Kernels::Fast))),
    ];
    list.extend(gpu().await.map(|gpu| ("gpu", gpu)));
    list
}

/// Every implementation there is on this machine, the GPU's also with whole stores.
pub async fn backends_and_whole_stores() -> Vec<(&'static str, Backend)> {
    let mut list = backends().await;
    list.extend(gpu_with_whole_stores().await.map(|gpu| ("gpu with whole stores", gpu)));
    list
}

/// Every implementation there is on this machine, the GPU's in its variants for both kinds of
/// adapter, and with whole stores.
pub async fn backends_and_variants() -> Vec<(&'static str, Backend)> {
    let mut list = vec![
        ("twin", Backend::Cpu(Cpu::new(Kernels::Twin))),
        ("fast", Backend::Cpu(Cpu::new(Kernels::Fast))),
    ];
    for (name, software) in [("gpu", false), ("software gpu", true)] {
        let options = GpuOptions { default_limits: true, software: Some(software), ..GpuOptions::default() };
        list.extend(gpu_with(options).await.map(|gpu| (name, gpu)));
    }
    list.extend(gpu_with_whole_stores().await.map(|gpu| ("gpu with whole stores", gpu)));
    list
}

/// A GPU whose stores to a part of a shared vector write all of it, as WGSL permits. Browsers have
/// none: naga is native.
#[cfg(not(target_arch = "wasm32"))]
async fn gpu_with_whole_stores() -> Option<Backend> {
    let source = |kernel: &Kernel| stores::with_whole_stores(kernel.name, &kernel.source());
    let default = GpuOptions::default();
    gpu_with(GpuOptions { default_limits: true, software: Some(false), source: Some(source), ..default })
        .await
}

#[cfg(target_arch = "wasm32")]
async fn gpu_with_whole_stores() -> Option<Backend> {
    None
}

/// Numbers between ±size that look random (Marsaglia's xorshift), the same for the same seed.
pub fn noise(seed: u32, len: usize, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state as f32 / u32::MAX as f32 - 0.5) * 2.0 * size
    };
    (0..len).map(|_| next()).collect()
}

/// How far a value may be off: `abs + |want| · rel`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub abs: f32,
    pub rel: f32,
}

/// Panics if any value is out of tolerance.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: Tolerance) {
    if let Some(misfit) = misfit(got, want, tolerance) {
        panic!("{what}: {misfit}");
    }
}

/// The first value out of tolerance, and the worst; `None` if all are within.
pub fn misfit(got: &[f32], want: &[f32], tolerance: Tolerance) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} values, expected {}", got.len(), want.len()));
    }
    // NaN is within no tolerance.
    let within = |(g, w): (&f32, &f32)| (g - w).abs() <= tolerance.abs + w.abs() * tolerance.rel;
    let first = got.iter().zip(want).position(|pair| !within(pair))?;
    let error = |i: &usize| (got[*i] - want[*i]).abs();
    let worst = (0..got.len()).max_by(|a, b| error(a).total_cmp(&error(b)))?;
    Some(format!(
        "at {first} got {}, expected {}; worst is off by {} at {worst} ({tolerance:?})",
        got[first],
        want[first],
        error(&worst)
    ))
}

/// A fixture file: tensors named `<case>/<name>` and the cases' scalars.
pub struct Fixture<'a> {
    file: &'a [u8],
    header: Header,
    cases: Vec<Value>,
}

impl<'a> Fixture<'a> {
    pub fn new(file: &'a [u8]) -> Self {
        let header = Header::from_file_bytes(file).expect("rerun tests/fixtures/generate.py");
        let cases = header.metadata.get("cases").map_or_else(Vec::new, |json| {
            serde_json::from_str(json).expect("metadata `cases` is an array of objects")
        });
        Self { file, header, cases }
    }

    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        assert!(!self.cases.is_empty(), "a fixture without cases proves nothing");
        self.cases.iter().enumerate().map(|(index, scalars)| Case { fixture: self, index, scalars })
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"))
    }

    fn find(&self, name: &str) -> Option<Vec<f32>> {
        let info = self.header.tensor(name)?;
        Some(info.read_f32(info.bytes_in(self.file).expect("in the file")).expect("f32"))
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let info = self.header.tensor(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"));
        info.bytes_in(self.file).expect("in the file").to_vec()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        let info = self.header.tensor(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"));
        let ids = info.read_i64(info.bytes_in(self.file).expect("in the file")).expect("integers");
        ids.into_iter().map(|id| u32::try_from(id).expect("not negative")).collect()
    }

    pub fn metadata(&self, key: &str) -> &str {
        self.header.metadata.get(key).unwrap_or_else(|| panic!("fixture metadata `{key}`"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.header.tensor(name).is_some()
    }
}

/// One case of a fixture file.
pub struct Case<'a> {
    fixture: &'a Fixture<'a>,
    index: usize,
    scalars: &'a Value,
}

impl Case<'_> {
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.fixture.f32(&format!("{}/{name}", self.index))
    }

    pub fn maybe_f32(&self, name: &str) -> Option<Vec<f32>> {
        self.fixture.find(&format!("{}/{name}", self.index))
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.fixture.ids(&format!("{}/{name}", self.index))
    }

    pub fn size(&self, name: &str) -> usize {
        self.scalars[name].as_u64().unwrap_or_else(|| panic!("case scalar `{name}`")) as usize
    }

    pub fn sizes(&self, name: &str) -> Vec<usize> {
        let list = self.scalars[name].as_array().unwrap_or_else(|| panic!("case scalar `{name}`"));
        list.iter().map(|size| size.as_u64().expect("a size") as usize).collect()
    }

    pub fn number(&self, name: &str) -> f32 {
        self.scalars[name].as_f64().unwrap_or_else(|| panic!("case scalar `{name}`")) as f32
    }

    /// Not rounded to f32.
    pub fn double(&self, name: &str) -> f64 {
        self.scalars[name].as_f64().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.scalars[name].as_bool().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }

    pub fn activation(&self, name: &str) -> Activation {
        match self.text(name) {
            "silu" => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => panic!("activation {other}"),
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.scalars[name].as_str().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }
}

/// A run of one op: inputs, and outputs with what they must hold afterwards.
#[derive(Default)]
pub struct OneOp {
    tensors: Tensors,
    contents: Vec<(TensorId, Vec<u32>)>,
    wanted: Vec<(TensorId, Vec<f32>, usize)>,
}

impl OneOp {
    pub fn f32(&mut self, name: &str, shape: &[usize], values: &[f32]) -> TensorId {
        let id = self.tensors.declare(name, Dtype::F32, shape).expect("small");
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.contents.push((id, bytemuck::cast_slice(values).to_vec()));
        id
    }

    pub fn u32(&mut self, name: &str, shape: &[usize], values: &[u32]) -> TensorId {
        let id = self.tensors.declare(name, Dtype::U32, shape).expect("small");
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.contents.push((id, values.to_vec()));
        id
    }

    /// A weight whose rows are packed already.
    pub fn packed(&mut self, name: &str, dtype: Dtype, shape: &[usize], words: &[u32]) -> TensorId {
        let id = self.tensors.declare(name, dtype, shape).expect("small");
        assert_eq!(words.len(), self.tensors.get(id).words(), "{name}");
        self.contents.push((id, words.to_vec()));
        id
    }

    /// An output that starts as NaN and has a row more than will be written.
    pub fn output(&mut self, name: &str, shape: &[usize], want: &[f32]) -> TensorId {
        let nan = vec![f32::NAN; want.len()];
        self.output_over(name, shape, &nan, want)
    }

    /// An output that starts as `before`, and has a row more than will be written.
    pub fn output_over(&mut self, name: &str, shape: &[usize], before: &[f32], want: &[f32]) -> TensorId {
        let mut shape = shape.to_vec();
        shape[0] += 1;
        let tail: usize = shape[1..].iter().product();
        let values = [before, &vec![f32::NAN; tail][..]].concat();
        let id = self.f32(name, &shape, &values);
        self.wanted.push((id, want.to_vec(), tail));
        id
    }

    /// Uploads everything and makes `op` on `n` rows ready to run.
    pub fn prepare(&self, backend: &mut Backend, op: impl Into<Op>, n: usize) -> Prepared {
        let mut plan = Plan::new(n);
        plan.push(&self.tensors, op);
        backend.allocate(&self.tensors).expect("small");
        self.contents.iter().for_each(|(id, words)| backend.upload(*id, 0, words));
        backend.prepare(&plan).expect("a valid kernel")
    }

    /// Runs `op` on `n` rows and compares every output; its tail must be untouched.
    pub async fn check(
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
