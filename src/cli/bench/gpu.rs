//! `bench gpu`: what the GPU does with the kernels, as a table or as JSON to send.

use std::time::Instant;

use lorakeet::Result;
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::bench::{GpuBench, Shape, bench_gpu};
use lorakeet::dtype::Dtype;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Layers of SmolLM2-135M's shape
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    layers: u16,
    /// Tokens of the vocabulary
    #[arg(long, default_value_t = 49152, value_parser = clap::value_parser!(u32).range(256..))]
    vocab: u32,
    /// Measured runs of each prompt, text and step, after one to warm up
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures, and prints what was found; what is measured meanwhile goes to stderr.
pub(crate) async fn run(options: &Options, dtype: Option<Dtype>, as_json: bool) -> Result<()> {
    let shape = Shape { layers: options.layers.into(), vocab: options.vocab as usize };
    let what = GpuBench { shape, dtype: dtype.unwrap_or(GpuBench::default().dtype), runs: options.runs };
    let start = Instant::now();
    let clock = || 1e3 * start.elapsed().as_secs_f64();
    let mut told = |next: &str, share: f64| {
        if !as_json {
            eprintln!("{:3.0} % {next}", 100.0 * share);
        }
    };
    let report = bench_gpu(&what, &GpuOptions::default(), &clock, &mut told).await?;
    if as_json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
        return Ok(());
    }
    println!("{}: {} layers, vocabulary {}, {}", report.adapter, report.layers, report.vocab, report.dtype);
    println!("numbers: {}\n", report.known_answer);
    for measure in &report.measures {
        println!("{:56}{:12.3} {}", measure.name, measure.value, measure.unit);
    }
    Ok(())
}
