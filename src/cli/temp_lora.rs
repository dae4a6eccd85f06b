//! `temp-lora eval`: how much better a text is predicted by an adapter that learns it as it goes.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use lorakeet::engine::{ChunkReport, Engine, TempEvent, TempLoraOptions};
use lorakeet::{Error, Result};
use serde_json::{Value, json};

use super::progress_bar;

#[derive(Subcommand)]
pub enum TempLora {
    /// Score a text chunk by chunk with and without a temporary adapter, which learns each chunk
    /// once it was scored
    Eval(Box<Eval>),
}

#[derive(clap::Args)]
pub struct Eval {
    /// The text
    #[arg(long)]
    text: PathBuf,
    /// Where the options below begin
    #[arg(long, default_value = "small")]
    preset: Preset,
    /// Tokens of a chunk
    #[arg(long)]
    chunk: Option<usize>,
    /// Tokens before it
    #[arg(long)]
    context: Option<usize>,
    #[arg(long)]
    rank: Option<usize>,
    #[arg(long)]
    alpha: Option<f64>,
    #[arg(long)]
    learning_rate: Option<f32>,
    /// Steps on each chunk
    #[arg(long)]
    epochs: Option<usize>,
    #[arg(long)]
    dropout: Option<f32>,
    /// Ends of module names [default: every linear map but the head]
    #[arg(long)]
    target: Vec<String>,
    /// Pass no gradient through the context (true or false)
    #[arg(long)]
    constant_context: Option<bool>,
    /// Undo a lesson after which the next chunk is scored worse than by the base
    #[arg(long)]
    roll_back: bool,
    /// Stop after this many tokens
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Also print every chunk, with --json
    #[arg(long)]
    chunks: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// The published code's constants
    Paper,
    /// What measures best on small models
    Small,
}

impl Eval {
    fn options(&self, engine: &Engine) -> TempLoraOptions {
        let context = engine.model().context();
        let preset = match self.preset {
            Preset::Paper => TempLoraOptions::paper(context),
            Preset::Small => TempLoraOptions::small(context),
        };
        let rank = self.rank.unwrap_or(preset.rank);
        TempLoraOptions {
            rank,
            alpha: self.alpha.unwrap_or(rank as f64 * preset.alpha / preset.rank as f64),
            learning_rate: self.learning_rate.unwrap_or(preset.learning_rate),
            epochs: self.epochs.unwrap_or(preset.epochs),
            dropout: self.dropout.unwrap_or(preset.dropout),
            target_modules: self.target.clone(),
            chunk_tokens: self.chunk.unwrap_or(preset.chunk_tokens),
            context_tokens: self.context.unwrap_or(preset.context_tokens),
            constant_context: self.constant_context.unwrap_or(preset.constant_context),
            roll_back: self.roll_back,
            beside: engine.active_adapters().clone(),
            ..preset
        }
    }
}

/// Evaluates, and prints what came of it.
pub async fn run(engine: &mut Engine, TempLora::Eval(eval): &TempLora, as_json: bool) -> Result<()> {
    let path = eval.text.display();
    let text = std::fs::read_to_string(&eval.text)
        .map_err(|e| Error::network(format!("cannot read {path}: {e}")))?;
    let mut ids = engine.encode(&text)?;
    ids.truncate(eval.max_tokens.unwrap_or(ids.len()));
    if ids.len() < 2 {
        return Err(Error::argument(format!("{path}: {} tokens, expected at least 2", ids.len())));
    }
    let mut temp = engine.begin_temp_lora(eval.options(engine))?;
    let bytes = engine.model().tensors.total_bytes();
    engine.temp_learn(&mut temp, &ids, true)?;
    let bar = progress_bar(as_json, "learn {bar:30} {pos}/{len} tokens {eta}");
    bar.set_length(ids.len() as u64);
    let (started, mut chunks) = (Instant::now(), Vec::new());
    let result = loop {
        match engine.temp_next(&mut temp, usize::MAX).await {
            Ok(TempEvent::Idle) => break Ok(()),
            Ok(TempEvent::Chunk(report)) => {
                bar.inc(report.tokens as u64);
                chunks.push(report);
            }
            Ok(_) => {}
            Err(e) => break Err(e),
        }
    };
    bar.finish_and_clear();
    engine.end_temp_lora(&mut temp, None)?;
    result?;
    let seconds = started.elapsed().as_secs_f64();
    let report = summary(&chunks, temp.options(), seconds, bytes, eval.chunks);
    if as_json {
        println!("{report}");
        return Ok(());
    }
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    println!(
        "perplexity {:.4} with the temporary adapter, {:.4} without ({:+.2} %), {:.4} mixed",
        number("perplexity"),
        number("base_perplexity"),
        number("change_percent"),
        number("mixed_perplexity"),
    );
    println!(
        "mean of chunk perplexities {:.4}, without {:.4}; {} of {} chunks better; {:.2} s a chunk",
        number("chunk_perplexity"),
        number("base_chunk_perplexity"),
        report["improved_chunks"],
        chunks.len(),
        number("seconds_per_chunk"),
    );
    Ok(())
}

fn summary(
    chunks: &[ChunkReport],
    options: &TempLoraOptions,
    seconds: f64,
    bytes: u64,
    with_chunks: bool,
) -> Value {
    let labels: usize = chunks.iter().map(|chunk| chunk.labels).sum();
    let weighed = |value: &dyn Fn(&ChunkReport) -> f64| {
        chunks.iter().map(|chunk| value(chunk) * chunk.labels as f64).sum::<f64>() / labels as f64
    };
    let of = |loss: Option<f64>| loss.unwrap_or(0.0);
    let [base, adapted, mixed] =
        [weighed(&|c| of(c.base_loss)), weighed(&|c| of(c.adapted_loss)), weighed(&|c| of(c.mixed_loss))];
    let list = chunks.iter().map(|c| {
        json!({
            "tokens": c.tokens, "labels": c.labels, "base_loss": c.base_loss, "adapted_loss": c.adapted_loss,
            "mixed_loss": c.mixed_loss, "train_losses": c.train_losses, "learning_rate": c.learning_rate,
            "rolled_back": c.rolled_back,
        })
    });
    json!({
        "tokens": chunks.iter().map(|chunk| chunk.tokens).sum::<usize>(),
        "labels": labels,
        "chunk": options.chunk_tokens,
        "context": options.context_tokens,
        "rank": options.rank,
        "learning_rate": options.learning_rate,
        "base_perplexity": base.exp(),
        "perplexity": adapted.exp(),
        "mixed_perplexity": mixed.exp(),
        // How far the mix's loss of the whole text is above the smaller of the two, nats.
        "mixed_regret": (mixed - base.min(adapted)) * labels as f64,
        "change_percent": 100.0 * ((adapted - base).exp() - 1.0),
        "base_chunk_perplexity": weighed(&|c| of(c.base_loss).exp()),
        "chunk_perplexity": weighed(&|c| of(c.adapted_loss).exp()),
        "improved_chunks": chunks.iter().filter(|c| c.adapted_loss < c.base_loss).count(),
        "seconds_per_chunk": seconds / chunks.len() as f64,
        "tensor_bytes": bytes,
        "chunks": if with_chunks { list.collect() } else { Vec::new() },
    })
}
