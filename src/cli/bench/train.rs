//! `bench train`: the time of a training step, and of its longest slice, which on a GPU is a submission.

use std::time::Instant;

use lorakeet::engine::{Engine, NewLora, Optimizer, TrainingRoom, Variant, Window};
use lorakeet::{Error, Result};
use serde_json::json;

use super::median;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Tokens of the window
    #[arg(long, default_value_t = 256)]
    tokens: usize,
    /// What is trained: lora or lora-xs
    #[arg(long, default_value = "lora")]
    variant: Variant,
    /// Of the LoRA on every linear map but the head
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Measured steps, after one to warm up
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Measures `runs` steps slice by slice and prints medians.
pub(crate) async fn run(engine: &mut Engine, options: &Options, as_json: bool) -> Result<()> {
    const NAME: &str = "bench";
    let &Options { variant, tokens, rank, runs } = options;
    if runs == 0 {
        return Err(Error::argument("runs 0, expected at least 1"));
    }
    let lora = NewLora { variant, rank, alpha: rank as f64, target_modules: Vec::new(), seed: 0 };
    engine.new_lora(NAME, &lora).await?;
    engine
        .begin_training(NAME, Optimizer::default(), TrainingRoom { window: tokens, memory_limit: None })
        .await?;
    let v = engine.config().vocab_size as u32;
    let window = Window::new((0..tokens as u32).map(|i| i * 7 % v).collect(), 1);
    let choice = vec![(NAME.to_owned(), 1.0)];
    let (mut steps, mut slices) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let started = Instant::now();
        let mut step = engine.begin_step(vec![window.clone()], &choice, 1e-3)?;
        let (mut longest, mut result) = (0.0f64, Ok(()));
        while result.is_ok() && !step.is_finished() {
            let began = Instant::now();
            result = engine.next_slices(&mut step, 1).await;
            longest = longest.max(1000.0 * began.elapsed().as_secs_f64());
        }
        engine.end_step(step);
        result?;
        if run > 0 {
            steps.push(1000.0 * started.elapsed().as_secs_f64());
            slices.push(longest);
        }
    }
    let (step, slice) = (median(steps), median(slices));
    if as_json {
        println!(
            "{}",
            json!({ "device": engine.backend().name(), "threads": engine.backend().threads(), "step_ms": step, "longest_slice_ms": slice })
        );
    } else {
        println!("step  {step:9.1} ms  ({tokens} tokens, rank {rank})");
        println!("slice {slice:9.1} ms  the longest of a step");
    }
    Ok(())
}
