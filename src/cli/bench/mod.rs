//! `bench`: speed of prefill and decode, beside the bandwidth the same machine shows in the
//! same run. Ratios travel between machines; tokens per second do not.

pub(crate) mod adapters;
pub(crate) mod gpu;
mod random;
mod report;
pub(crate) mod train;

use std::hint::black_box;
use std::time::Instant;

use lorakeet::Result;
use lorakeet::engine::{Engine, Request};
use serde_json::json;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Tokens of the prompt
    #[arg(long, default_value_t = 128)]
    prompt_tokens: usize,
    /// Tokens to draw
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Measured runs, after one to warm up
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Other benchmarks.
#[derive(clap::Subcommand)]
pub(crate) enum Other {
    /// Measure what adapters cost over the base, on a random model
    Adapters(adapters::Options),
    /// Measure the GPU and every kernel on it, on a random model
    Gpu(gpu::Options),
    /// Measure a step of training a LoRA
    Train(train::Options),
}

/// Measures `runs` generations and prints medians.
pub(crate) async fn run(engine: &mut Engine, options: &Options, as_json: bool) -> Result<()> {
    let Options { prompt_tokens, tokens, runs } = *options;
    let v = engine.config().vocab_size as u32;
    let mut prefill = Vec::new();
    let mut decode = Vec::new();
    for run in 0..=runs as u32 {
        // Another prompt each time, so that the cache remembers nothing of it.
        let prompt = (0..prompt_tokens as u32).map(|i| (i * 7 + run * 13) % v).collect();
        let mut generation = engine.start(&[Request::greedy(prompt, tokens)])?;
        let started = Instant::now();
        while generation.pending() > 0 {
            engine.next(&mut generation).await?;
        }
        let filled = Instant::now();
        let mut drawn = 0;
        while !generation.is_finished() {
            drawn += engine.next(&mut generation).await?.iter().map(|d| d.tokens.len()).sum::<usize>();
        }
        engine.end(generation);
        if run > 0 {
            prefill.push((prompt_tokens - 1) as f64 / (filled - started).as_secs_f64());
            decode.push(drawn as f64 / filled.elapsed().as_secs_f64());
        }
    }
    let (prefill, decode) = (median(prefill), median(decode));
    // A token reads every weight once; the embedding is one row unless it is also the head.
    let weight_bytes = 4.0 * engine.model().weights.read_per_token() as f64;
    let achieved = decode * weight_bytes / 1e9;
    let bandwidth = bandwidth();
    let report = json!({
        "backend": engine.backend().name(),
        "threads": engine.backend().threads(),
        "prefill_tokens_per_second": prefill,
        "decode_tokens_per_second": decode,
        "weight_gigabytes_per_second": achieved,
        "memory_gigabytes_per_second": bandwidth,
        "share_of_bandwidth": achieved / bandwidth,
    });
    if as_json {
        println!("{report}");
    } else {
        println!("threads {:9}", engine.backend().threads());
        println!("prefill {prefill:9.1} tokens/s  ({prompt_tokens} tokens)");
        println!("decode  {decode:9.1} tokens/s  ({tokens} tokens)");
        println!(
            "weights {achieved:9.2} GB/s, {:.0} % of the {bandwidth:.2} GB/s one core reads here",
            100.0 * achieved / bandwidth
        );
    }
    Ok(())
}

/// Gigabytes per second at which one core sums a buffer larger than its caches.
fn bandwidth() -> f64 {
    let words = vec![1u64; 32 << 20];
    let rate = |_| {
        let started = Instant::now();
        black_box(words.iter().fold(0u64, |sum, w| sum.wrapping_add(*w)));
        words.len() as f64 * 8.0 / 1e9 / started.elapsed().as_secs_f64()
    };
    median((0..5).map(rate).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
