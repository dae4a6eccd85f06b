//! What a GPU does with the kernels, as a report that people can send: the device's own limits, each kernel in its
//! place, whole requests and training steps, and whether the numbers are right. One body for the terminal and for pages.

mod random;

use serde::Serialize;

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, Kernels};
use crate::backend::gpu::measure::Clock;
use crate::backend::gpu::{Gpu, GpuOptions};
use crate::dtype::Dtype;
use crate::engine::{
    Choice, Engine, EngineOptions, NewLora, Optimizer, Request, TrainingRoom, Variant, Window,
};
use crate::error::{Error, ErrorKind, Result};

pub use random::{LINEARS, Noise, Shape, Tensor, unit};

/// Bytes that are read to measure memory.
const READ_BYTES: u64 = 256 << 20;
/// Keys before the token whose kernels are timed.
const KEYS: [usize; 3] = [128, 512, 2048];
const PROMPTS: [usize; 3] = [127, 128, 512];
const TOKENS: usize = 64;
const BATCH: usize = 8;
const RANK: usize = 16;
/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct GpuBench {
    /// Of the model.
    pub shape: Shape,
    /// Type of its weights.
    pub dtype: Dtype,
    /// Times each is measured, prompts, texts and steps after one to warm up; the fastest of those counts.
    pub runs: usize,
}

impl Default for GpuBench {
    /// All of SmolLM2-135M, as most people load it.
    fn default() -> Self {
        Self { shape: Shape { layers: 30, vocab: 49152 }, dtype: Dtype::Q8, runs: 3 }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct GpuReport {
    /// This package's version.
    pub version: &'static str,
    /// What the adapter calls itself; empty where a browser does not tell.
    pub adapter: String,
    /// Invocations that share a dot product; 1 if the adapter computes on the CPU.
    pub lanes: u32,
    /// Of the model.
    pub layers: usize,
    /// Of the model.
    pub vocab: usize,
    /// Of its weights.
    pub dtype: &'static str,
    /// Whether the device's own clock could be read.
    pub timestamps: bool,
    /// `right`, or what is wrong.
    pub known_answer: String,
    /// In the order in which they were found.
    pub measures: Vec<Measure>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// How much it is.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// Measures the system's default GPU. `told` hears what is measured next, and the share that is done.
///
/// Errors with `Unsupported` where there is none, `Memory`, `Device`.
pub async fn bench_gpu(
    what: &GpuBench,
    gpu: &GpuOptions,
    clock: Clock<'_>,
    told: &mut dyn FnMut(&str, f64),
) -> Result<GpuReport> {
    let GpuBench { shape, dtype, runs } = *what;
    told("the device", 0.0);
    let mut gpu = Gpu::open(&GpuOptions { timestamps: true, ..gpu.clone() }).await?;
    let mut bench = Bench { shape, dtype, runs, clock, measures: Vec::new() };
    bench.ceilings(&mut gpu).await?;
    told("known answers", 0.15);
    let known_answer = bench.known_answer(gpu.beside()).await?;
    told("kernels", 0.25);
    bench.kernels(gpu.beside()).await?;
    told("prompts and texts", 0.5);
    bench.texts(gpu.beside()).await?;
    told("training", 0.8);
    bench.training(gpu.beside()).await?;
    bench.shares();
    told("done", 1.0);
    Ok(GpuReport {
        version: env!("CARGO_PKG_VERSION"),
        adapter: gpu.adapter().to_owned(),
        lanes: gpu.lanes(),
        layers: shape.layers,
        vocab: shape.vocab,
        dtype: dtype.name(),
        timestamps: gpu.has_clock(),
        known_answer,
        measures: bench.measures,
    })
}

struct Bench<'a> {
    shape: Shape,
    dtype: Dtype,
    runs: usize,
    clock: Clock<'a>,
    measures: Vec<Measure>,
}

impl Bench<'_> {
    fn push(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.measures.push(Measure { name: name.into(), value, unit });
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.measures.iter().find(|measure| measure.name == name).map(|measure| measure.value)
    }

    async fn open(&self, gpu: Gpu, context: usize, batch: usize) -> Result<Engine> {
        let options = EngineOptions {
            dtype: Some(self.dtype),
            context_length: Some(context),
            batch: Some(batch),
            ..EngineOptions::default()
        };
        self.shape.open(Backend::Gpu(Box::new(gpu)), &options).await
    }

    async fn ceilings(&mut self, gpu: &mut Gpu) -> Result<()> {
        let found = gpu.ceilings(READ_BYTES, self.runs, self.clock).await?;
        self.push("launch, needs the one before", found.dependent_us, "us");
        self.push("launch, needs nothing", found.independent_us, "us");
        self.push("launch in a pass of its own", found.pass_us, "us");
        self.push("launch, on the host", found.encode_us, "us");
        self.push("memory", found.memory / 1e9, "GB/s");
        self.push("cache", found.cache / 1e9, "GB/s");
        self.push("workgroup memory", found.workgroup / 1e9, "GB/s");
        self.push("multiply-adds", found.operations / 1e9, "GFLOP/s");
        Ok(())
    }

    /// Whether each kernel gives its known answer, and two layers draw on the GPU what they draw on the CPU.
    async fn known_answer(&mut self, gpu: Gpu) -> Result<String> {
        let options = EngineOptions {
            dtype: Some(self.dtype),
            context_length: Some(64),
            batch: Some(1),
            ..EngineOptions::default()
        };
        let shape = Shape { layers: 2, vocab: 1024 };
        let mut texts = Vec::new();
        for backend in [Backend::Gpu(Box::new(gpu)), Backend::Cpu(Cpu::new(Kernels::Fast))] {
            let mut engine = shape.open(backend, &options).await?;
            match engine.check_kernels().await {
                Err(error) if error.kind() == ErrorKind::Device => return Ok(error.to_string()),
                checked => checked?,
            }
            let request = Request::greedy(prompt(20, 1, 1024), 32);
            texts.push(complete(&mut engine, &[request], self.clock).await?.tokens);
        }
        let same = texts[0].iter().zip(&texts[1]).take_while(|(gpu, cpu)| gpu == cpu).count();
        Ok(if same == 32 { "right".to_owned() } else { format!("token {same} of 32 is not the CPU's") })
    }

    async fn kernels(&mut self, gpu: Gpu) -> Result<()> {
        let mut engine = self.open(gpu, KEYS[2] + 1, 1).await?;
        let mut waits = Vec::new();
        for _ in 0..50 {
            let began = (self.clock)();
            engine.wait().await?;
            waits.push((self.clock)() - began);
        }
        waits.sort_by(f64::total_cmp);
        self.push("wait for a result", waits[25], "ms");
        for keys in KEYS {
            for time in engine.time_kernels(keys, self.runs, self.clock).await? {
                let name = format!("{} x {} at {keys} keys", time.kernel, time.launches);
                self.push(name.clone(), time.us, "us");
                if let Some(us) = time.device_us {
                    self.push(format!("{name}, by its clock"), us, "us");
                }
            }
        }
        Ok(())
    }

    async fn texts(&mut self, gpu: Gpu) -> Result<()> {
        let vocab = self.shape.vocab as u32;
        let mut engine = self.open(gpu, PROMPTS[2] + 1 + TOKENS, BATCH).await?;
        for b in 0..BATCH {
            engine.new_lora(&name(b), &lora()).await?;
        }
        let mut salt = 0;
        let mut request = |len: usize, tokens: usize, adapter: Choice| {
            salt += 1;
            Request { adapter: Some(adapter), ..Request::greedy(prompt(len + 1, salt, vocab), tokens) }
        };
        let one = || vec![(name(0), 1.0)];
        for (with, adapter) in [("", Choice::new()), (", adapter", one())] {
            for len in PROMPTS {
                let mut least = f64::INFINITY;
                for _ in 0..=self.runs {
                    let run = complete(&mut engine, &[request(len, 1, adapter.clone())], self.clock).await?;
                    least = least.min(run.prompt_ms);
                }
                self.push(format!("prompt of {len}{with}"), least, "ms");
            }
        }
        let sampled = |request: Request| Request { temperature: 0.8, top_k: 40, top_p: 0.95, ..request };
        for (what, rows) in [
            ("decode", 1),
            ("decode, adapter", 1),
            ("decode, sampled", 1),
            ("decode, 8 adapters in a batch", BATCH),
        ] {
            let mut most = 0.0f64;
            for _ in 0..=self.runs {
                let requests: Vec<Request> = (0..rows)
                    .map(|row| match what {
                        "decode" => request(64, TOKENS, Choice::new()),
                        "decode, sampled" => sampled(request(64, TOKENS, Choice::new())),
                        _ => request(64, TOKENS, vec![(name(row), 1.0)]),
                    })
                    .collect();
                let run = complete(&mut engine, &requests, self.clock).await?;
                most = most.max((rows * TOKENS) as f64 / (run.total_ms - run.prompt_ms) * 1e3);
            }
            self.push(what, most, "tokens/s");
        }
        Ok(())
    }

    async fn training(&mut self, gpu: Gpu) -> Result<()> {
        let vocab = self.shape.vocab as u32;
        let mut engine = self.open(gpu, 257, 1).await?;
        engine.new_lora(&name(0), &lora()).await?;
        let room = TrainingRoom { window: 257, memory_limit: None };
        engine.begin_training(&name(0), Optimizer::default(), room).await?;
        let choice = vec![(name(0), 1.0)];
        for window in [256, 257] {
            let mut least = f64::INFINITY;
            for round in 0..=self.runs {
                let began = (self.clock)();
                let window = Window::new(prompt(window, round as u32, vocab), 1);
                let loss = engine.train_step(vec![window], &choice, 1e-4).await?;
                if !loss.is_finite() {
                    return Err(Error::device("WebGPU device: a step of training gave no number"));
                }
                least = least.min((self.clock)() - began);
            }
            self.push(format!("step of training, {window} tokens, rank {RANK}"), least, "ms");
        }
        Ok(())
    }

    /// How near the kernels come to what the device can do.
    fn shares(&mut self) {
        let bytes: usize = self
            .shape
            .tensors()
            .iter()
            .filter(|tensor| tensor.size.is_some())
            .map(|tensor| 4 * tensor.shape[0] * self.dtype.row_words(tensor.shape[1]))
            .sum();
        if let (Some(decode), Some(memory)) = (self.value("decode"), self.value("memory")) {
            self.push("decode of the memory's speed", 100.0 * decode * bytes as f64 / 1e9 / memory, "%");
        }
        let maps: usize = LINEARS.iter().map(|(_, outputs, inputs)| outputs * inputs).sum();
        let flop = 2.0 * 512.0 * (maps * self.shape.layers) as f64;
        if let (Some(ms), Some(most)) = (self.value("prompt of 512"), self.value("multiply-adds")) {
            self.push("prompt of 512 of the multiply-adds", 100.0 * flop / (ms * 1e6) / most, "%");
        }
    }
}

fn name(b: usize) -> String {
    format!("bench-{b}")
}

fn lora() -> NewLora {
    NewLora { variant: Variant::Lora, rank: RANK, alpha: RANK as f64, target_modules: Vec::new(), seed: 1 }
}

/// Begins with another token for every salt, so that nothing of it is cached.
fn prompt(len: usize, salt: u32, vocab: u32) -> Vec<u32> {
    (0..len as u32).map(|i| (salt * 31 + i * 7) % vocab).collect()
}

/// When parts of a batch of texts were done, and what the first of them is.
struct Run {
    prompt_ms: f64,
    total_ms: f64,
    tokens: Vec<u32>,
}

async fn complete(engine: &mut Engine, requests: &[Request], clock: Clock<'_>) -> Result<Run> {
    let mut generation = engine.start(requests)?;
    let began = clock();
    while generation.pending() > 0 {
        engine.next(&mut generation).await?;
    }
    let prompt_ms = clock() - began;
    let mut tokens = Vec::new();
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await? {
            if delta.index == 0 {
                tokens.extend(delta.tokens);
            }
        }
    }
    engine.end(generation);
    Ok(Run { prompt_ms, total_ms: clock() - began, tokens })
}
