//! What the tests of arithmetic share: the backends, fixtures, and a comparer that can fail.

pub(crate) mod divergence;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod files;
pub(crate) mod gguf;
pub(crate) mod models;
pub(crate) mod one_op;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod paths;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod real;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod stores;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod temp_lora;

use std::cell::RefCell;

use lorakeet::activation::Activation;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
#[cfg(not(target_arch = "wasm32"))]
use lorakeet::backend::gpu::kernels::Kernel;
use lorakeet::backend::gpu::{Gpu, GpuOptions};
use lorakeet::format::safetensors::Header;
use serde_json::Value;

/// A set variable turns a missing adapter from a printed skip into a failure.
const REQUIRE_GPU: &str = "LORAKEET_REQUIRE_GPU";

/// A GPU held to the specification's default limits, or `None` with a printed skip.
pub(crate) async fn gpu() -> Option<Backend> {
    shared(GpuOptions { default_limits: true, ..GpuOptions::default() }).await
}

thread_local! {
    /// What a test opened first: compiling for each engine anew would take most of the time.
    static OPEN: RefCell<Open> = const { RefCell::new(Open(Vec::new())) };
}

struct Open(Vec<(String, Gpu)>);

/// Closed by a thread of its own: what closing takes is gone where a thread ends.
impl Drop for Open {
    fn drop(&mut self) {
        let devices = Sent(std::mem::take(&mut self.0));
        if !devices.0.is_empty() {
            let _ = std::thread::spawn(move || drop(devices)).join();
        }
    }
}

struct Sent(Vec<(String, Gpu)>);

// SAFETY: sent once, where a test's thread ends, and nothing of the test is left that shares a device.
unsafe impl Send for Sent {}

/// A GPU opened with `options`, or `None` with a printed skip.
pub(crate) async fn gpu_with(options: GpuOptions) -> Option<Backend> {
    opened(&options).await.map(boxed)
}

/// One on the device that this test opened first with such options, which are of the device alone.
async fn shared(options: GpuOptions) -> Option<Backend> {
    let key = format!("{options:?}");
    let open = OPEN.with_borrow_mut(|Open(open)| {
        open.retain(|(_, gpu)| !gpu.is_lost());
        open.iter().find(|(of, _)| *of == key).map(|(_, gpu)| gpu.beside())
    });
    if let Some(gpu) = open {
        return Some(boxed(gpu));
    }
    let first = opened(&options).await?;
    let gpu = first.beside();
    OPEN.with_borrow_mut(|Open(open)| open.push((key, first)));
    Some(boxed(gpu))
}

fn boxed(gpu: Gpu) -> Backend {
    Backend::Gpu(Box::new(gpu))
}

async fn opened(options: &GpuOptions) -> Option<Gpu> {
    match Gpu::open(options).await {
        Ok(gpu) => Some(gpu),
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
pub(crate) async fn backends() -> Vec<(&'static str, Backend)> {
    let mut list = vec![
        ("twin", Backend::Cpu(Cpu::new(Kernels::Twin))),
        ("fast", Backend::Cpu(Cpu::new(Kernels::Fast))),
    ];
    list.extend(gpu().await.map(|gpu| ("gpu", gpu)));
    list
}

/// Every implementation there is on this machine, the GPU's also with whole stores.
pub(crate) async fn backends_and_whole_stores() -> Vec<(&'static str, Backend)> {
    let mut list = backends().await;
    list.extend(gpu_with_whole_stores().await.map(|gpu| ("gpu with whole stores", gpu)));
    list
}

/// Every implementation there is on this machine, the GPU's in its variants for both kinds of
/// adapter, and with whole stores.
pub(crate) async fn backends_and_variants() -> Vec<(&'static str, Backend)> {
    let mut list = vec![
        ("twin", Backend::Cpu(Cpu::new(Kernels::Twin))),
        ("fast", Backend::Cpu(Cpu::new(Kernels::Fast))),
    ];
    for (name, software) in [("gpu", false), ("software gpu", true)] {
        let options = GpuOptions { default_limits: true, software: Some(software), ..GpuOptions::default() };
        list.extend(shared(options).await.map(|gpu| (name, gpu)));
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
    shared(GpuOptions { default_limits: true, software: Some(false), source: Some(source), ..default }).await
}

#[cfg(target_arch = "wasm32")]
async fn gpu_with_whole_stores() -> Option<Backend> {
    None
}

/// Numbers between ±size that look random (Marsaglia's xorshift), the same for the same seed.
pub(crate) fn noise(seed: u32, len: usize, size: f32) -> Vec<f32> {
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
pub(crate) struct Tolerance {
    pub(crate) abs: f32,
    pub(crate) rel: f32,
}

/// Panics if any value is out of tolerance.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: Tolerance) {
    if let Some(misfit) = misfit(got, want, tolerance) {
        panic!("{what}: {misfit}");
    }
}

/// The first value out of tolerance, and the worst; `None` if all are within.
pub(crate) fn misfit(got: &[f32], want: &[f32], tolerance: Tolerance) -> Option<String> {
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
pub(crate) struct Fixture<'a> {
    file: &'a [u8],
    header: Header,
    cases: Vec<Value>,
}

impl<'a> Fixture<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Self {
        let header = Header::from_file_bytes(file).expect("rerun tests/fixtures/generate.py");
        let cases = header.metadata.get("cases").map_or_else(Vec::new, |json| {
            serde_json::from_str(json).expect("metadata `cases` is an array of objects")
        });
        Self { file, header, cases }
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        assert!(!self.cases.is_empty(), "a fixture without cases proves nothing");
        self.cases.iter().enumerate().map(|(index, scalars)| Case { fixture: self, index, scalars })
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"))
    }

    fn find(&self, name: &str) -> Option<Vec<f32>> {
        let info = self.header.tensor(name)?;
        Some(info.read_f32(info.bytes_in(self.file).expect("in the file")).expect("f32"))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let info = self.header.tensor(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"));
        info.bytes_in(self.file).expect("in the file").to_vec()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        let info = self.header.tensor(name).unwrap_or_else(|| panic!("fixture tensor `{name}`"));
        let ids = info.read_i64(info.bytes_in(self.file).expect("in the file")).expect("integers");
        ids.into_iter().map(|id| u32::try_from(id).expect("not negative")).collect()
    }

    pub(crate) fn metadata(&self, key: &str) -> &str {
        self.header.metadata.get(key).unwrap_or_else(|| panic!("fixture metadata `{key}`"))
    }
}

/// One case of a fixture file.
pub(crate) struct Case<'a> {
    fixture: &'a Fixture<'a>,
    index: usize,
    scalars: &'a Value,
}

impl Case<'_> {
    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.fixture.f32(&format!("{}/{name}", self.index))
    }

    pub(crate) fn maybe_f32(&self, name: &str) -> Option<Vec<f32>> {
        self.fixture.find(&format!("{}/{name}", self.index))
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.fixture.ids(&format!("{}/{name}", self.index))
    }

    pub(crate) fn size(&self, name: &str) -> usize {
        self.scalars[name].as_u64().unwrap_or_else(|| panic!("case scalar `{name}`")) as usize
    }

    pub(crate) fn sizes(&self, name: &str) -> Vec<usize> {
        let list = self.scalars[name].as_array().unwrap_or_else(|| panic!("case scalar `{name}`"));
        list.iter().map(|size| size.as_u64().expect("a size") as usize).collect()
    }

    pub(crate) fn number(&self, name: &str) -> f32 {
        self.scalars[name].as_f64().unwrap_or_else(|| panic!("case scalar `{name}`")) as f32
    }

    /// Not rounded to f32.
    pub(crate) fn double(&self, name: &str) -> f64 {
        self.scalars[name].as_f64().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.scalars[name].as_bool().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }

    pub(crate) fn activation(&self, name: &str) -> Activation {
        match self.text(name) {
            "silu" => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => panic!("activation {other}"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.scalars[name].as_str().unwrap_or_else(|| panic!("case scalar `{name}`"))
    }
}
