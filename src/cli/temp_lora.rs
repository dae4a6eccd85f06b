//! `temp-lora`: how much better a text is predicted by an adapter that learns it as it goes, and
//! text written with one.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Subcommand;
use lorakeet::engine::{
    ChunkLosses, ChunkReport, Engine, Evaluation, Preset, Request, TempEvent, TempLoraOptions, Variant,
    folder,
};
use lorakeet::words::Words;
use lorakeet::{Error, Result};
use serde_json::{Value, json};

use super::{progress_bar, word};

#[derive(Subcommand)]
pub(crate) enum TempLora {
    /// Score a text chunk by chunk with and without a temporary adapter, which learns each chunk
    /// once it was scored
    Eval(Box<Eval>),
    /// Continue a text for as long as is asked, learning each chunk once it is written
    Generate(Box<Generate>),
}

#[derive(clap::Args)]
pub(crate) struct Eval {
    /// The text
    #[arg(long)]
    text: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Stop after this many tokens
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Also print every chunk, with --json
    #[arg(long)]
    chunks: bool,
}

#[derive(clap::Args)]
pub(crate) struct Generate {
    /// The text to continue, after what is learned first
    #[arg(long, default_value = "", required_unless_present = "text")]
    prompt: String,
    /// A text that is learned first
    #[arg(long)]
    text: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    #[arg(long, default_value_t = 1000)]
    max_tokens: usize,
    /// 0 always takes the most probable token; the default is the terminal's own
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Above 1, tokens seen before become less likely
    #[arg(long, default_value_t = Request::default().repetition_penalty)]
    repetition_penalty: f32,
    /// Take the text up again where the model ends it
    #[arg(long)]
    go_on: bool,
    /// How much generated text teaches: this share of the learning rate
    #[arg(long)]
    generated_weight: Option<f32>,
    /// How much of a lesson on text that was written keeps the base's distribution near, 0 to 1
    #[arg(long)]
    generated_kl: Option<f32>,
    /// How many of the steps on each generated chunk are on one of the text instead
    #[arg(long)]
    replay: Option<usize>,
    /// Learn nothing from a chunk of whose runs of four tokens more than this share occurred before
    #[arg(long)]
    max_repetition: Option<f32>,
    /// Learn a chunk while the next one is drawn, in slices between its tokens
    #[arg(long)]
    overlap: bool,
    /// Draw from the never-worse mix of base and adapted model, at the cost of two rows a token
    #[arg(long)]
    mix: bool,
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

#[derive(clap::Args)]
struct Options {
    /// Where the options below begin: paper, the published code's constants; small, what measures best on models of a few
    /// million parameters; default, on models of the size at hand
    #[arg(long, default_value = Preset::default().word(), value_parser = word::<Preset>())]
    preset: Preset,
    /// Tokens of a chunk
    #[arg(long)]
    chunk: Option<usize>,
    /// Tokens before it
    #[arg(long)]
    context: Option<usize>,
    /// What is trained: lora, or lora-xs, a core between singular vectors of the base's weights
    #[arg(long, default_value = Variant::default().word(), value_parser = word::<Variant>())]
    variant: Variant,
    #[arg(long)]
    rank: Option<usize>,
    #[arg(long)]
    alpha: Option<f64>,
    #[arg(long)]
    learning_rate: Option<f32>,
    /// Of the adapter where text is scored or drawn, above 0, at most 1
    #[arg(long)]
    weight: Option<f32>,
    /// Chunks until that rate is reached
    #[arg(long)]
    warmup_chunks: Option<usize>,
    /// Where the warm-up begins: with 0 the first chunk teaches nothing, as published
    #[arg(long)]
    warmup_start: Option<usize>,
    /// Steps on each chunk
    #[arg(long)]
    epochs: Option<usize>,
    #[arg(long)]
    dropout: Option<f32>,
    /// Ends of module names [default: every linear map but the head]
    #[arg(long)]
    target: Vec<String>,
    /// PEFT adapter folder to begin from, which decides rank, alpha and targets [default: a fresh adapter]
    #[arg(long, conflicts_with_all = ["rank", "alpha", "target"])]
    warm_start: Option<PathBuf>,
    /// Pass no gradient through the context (true or false)
    #[arg(long)]
    constant_context: Option<bool>,
    /// Undo a lesson after which the next chunk is scored worse than by the base
    #[arg(long)]
    roll_back: bool,
}

/// The name of the adapter to begin from.
const WARM_START: &str = "warm-start";

impl Options {
    async fn options(&self, engine: &mut Engine) -> Result<TempLoraOptions> {
        if let Some(path) = &self.warm_start {
            folder::load_adapter(engine, WARM_START, path).await?;
        }
        let preset = TempLoraOptions::of(self.preset, engine.model());
        let rank = self.rank.unwrap_or(preset.rank);
        Ok(TempLoraOptions {
            variant: self.variant,
            rank,
            alpha: self.alpha.unwrap_or(rank as f64 * preset.alpha / preset.rank as f64),
            learning_rate: self.learning_rate.unwrap_or(preset.learning_rate),
            weight: self.weight.unwrap_or(preset.weight),
            warmup_chunks: self.warmup_chunks.unwrap_or(preset.warmup_chunks),
            warmup_start: self.warmup_start.unwrap_or(preset.warmup_start),
            epochs: self.epochs.unwrap_or(preset.epochs),
            dropout: self.dropout.unwrap_or(preset.dropout),
            target_modules: self.target.clone(),
            chunk_tokens: self.chunk.unwrap_or(preset.chunk_tokens),
            context_tokens: self.context.unwrap_or(preset.context_tokens),
            constant_context: self.constant_context.unwrap_or(preset.constant_context),
            roll_back: self.roll_back,
            warm_start: self.warm_start.as_ref().map(|_| WARM_START.to_owned()),
            beside: engine.active_adapters().clone(),
            ..preset
        })
    }
}

/// Runs the command.
pub(crate) async fn run(engine: &mut Engine, command: &TempLora, as_json: bool) -> Result<()> {
    match command {
        TempLora::Eval(options) => eval(engine, options, as_json).await,
        TempLora::Generate(options) => generate(engine, options, as_json).await,
    }
}

/// Writes on, and tells at the end whether memory stayed as it was.
async fn generate(engine: &mut Engine, generate: &Generate, as_json: bool) -> Result<()> {
    let mut options = generate.options.options(engine).await?;
    options.overlap = generate.overlap;
    options.generated_weight = generate.generated_weight.unwrap_or(options.generated_weight);
    options.generated_kl = generate.generated_kl.unwrap_or(options.generated_kl);
    options.replay = generate.replay.unwrap_or(options.replay);
    options.max_repetition = generate.max_repetition.unwrap_or(options.max_repetition);
    let given = generate.text.as_deref().map(read).transpose()?;
    let mut temp = engine.begin_temp_lora(options).await?;
    if let Some(given) = given {
        let ids = engine.encode(&given)?;
        engine.temp_learn(&mut temp, &ids, false)?;
        while engine.temp_next(&mut temp, usize::MAX).await? != TempEvent::Idle {}
    }
    let request = |prompt: Vec<u32>, left: usize, resumed: u32| Request {
        temperature: generate.temperature,
        repetition_penalty: generate.repetition_penalty,
        seed: generate.seed.wrapping_add(resumed),
        ..Request::greedy(prompt, left)
    };
    let prompt = engine.encode(&generate.prompt)?;
    engine.temp_generate(&mut temp, request(prompt, generate.max_tokens, 0), generate.mix)?;
    let started = Instant::now();
    let (mut tokens, mut lessons, mut tensor_bytes) = (Vec::<u32>::new(), 0, Vec::new());
    let (mut resumed, mut ended, mut text) = (0, None, String::new());
    let result = loop {
        match engine.temp_next(&mut temp, usize::MAX).await {
            Ok(TempEvent::Idle) => {
                let left = generate.max_tokens.saturating_sub(tokens.len());
                // A model that does nothing but end its text is not asked again.
                if left == 0 || !generate.go_on || ended == Some(tokens.len()) {
                    break Ok(());
                }
                (resumed, ended) = (resumed + 1, Some(tokens.len()));
                let next = request(Vec::new(), left, resumed);
                if let Err(e) = engine.temp_generate(&mut temp, next, generate.mix) {
                    break Err(e);
                }
            }
            Ok(TempEvent::Text(delta)) => {
                tokens.extend(&delta.tokens);
                text += &delta.text;
                if !as_json {
                    print!("{}", delta.text);
                    // A closed pipe is the reader's choice, not a failure of ours.
                    let _ = std::io::stdout().flush();
                }
            }
            Ok(TempEvent::Chunk(report)) => {
                lessons += usize::from(!report.train_losses.is_empty());
                tensor_bytes.push(engine.model().tensors.total_bytes());
            }
            Ok(TempEvent::Progress(..)) => {}
            Err(e) => break Err(e),
        }
    };
    engine.end_temp_lora(&mut temp, None).await?;
    result?;
    if as_json {
        let runs: Vec<&[u32]> = tokens.windows(4).collect();
        let different = runs.iter().collect::<HashSet<_>>().len();
        let report = json!({
            "text": text,
            "tokens": tokens.len(),
            "chunks": tensor_bytes.len(),
            // Of which something was learned.
            "lessons": lessons,
            // The share of runs of four tokens that came before.
            "repetition": (runs.len() - different) as f64 / runs.len().max(1) as f64,
            "tensor_bytes_after_first_chunk": tensor_bytes.first(),
            "tensor_bytes_after_last_chunk": tensor_bytes.last(),
            "seconds": started.elapsed().as_secs_f64(),
        });
        println!("{report}");
    } else {
        println!();
    }
    Ok(())
}

/// Evaluates, and prints what came of it.
async fn eval(engine: &mut Engine, eval: &Eval, as_json: bool) -> Result<()> {
    let path = eval.text.display();
    let mut ids = engine.encode(&read(&eval.text)?)?;
    ids.truncate(eval.max_tokens.unwrap_or(ids.len()));
    if ids.len() < 2 {
        return Err(Error::argument(format!("{path}: {} tokens, expected at least 2", ids.len())));
    }
    let options = eval.options.options(engine).await?;
    let mut temp = engine.begin_temp_lora(options).await?;
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
    engine.end_temp_lora(&mut temp, None).await?;
    result?;
    let seconds = started.elapsed().as_secs_f64();
    let report = summary(&chunks, temp.options(), seconds, bytes, eval.chunks)?;
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
        number("mean_chunk_perplexity"),
        number("mean_chunk_base_perplexity"),
        report["improved_chunks"],
        chunks.len(),
        number("seconds_per_chunk"),
    );
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| folder::failed(path, &e))
}

fn summary(
    chunks: &[ChunkReport],
    options: &TempLoraOptions,
    seconds: f64,
    bytes: u64,
    with_chunks: bool,
) -> Result<Value> {
    let text = Evaluation::of(chunks.iter().map(ChunkLosses::from))?;
    let list = chunks.iter().map(|c| {
        json!({
            "tokens": c.tokens, "labels": c.labels, "base_loss": c.base_loss, "adapted_loss": c.adapted_loss,
            "mixed_loss": c.mixed_loss, "train_losses": c.train_losses, "learning_rate": c.learning_rate,
            "rolled_back": c.rolled_back,
        })
    });
    Ok(json!({
        "tokens": text.tokens,
        "labels": text.labels,
        "chunk": options.chunk_tokens,
        "context": options.context_tokens,
        "rank": options.rank,
        "learning_rate": options.learning_rate,
        "base_perplexity": text.base_perplexity,
        "perplexity": text.perplexity,
        "mixed_perplexity": text.mixed_perplexity,
        "mixed_regret": text.mixed_regret,
        "change_percent": 100.0 * (text.perplexity / text.base_perplexity - 1.0),
        "mean_chunk_base_perplexity": text.mean_chunk_base_perplexity,
        "mean_chunk_perplexity": text.mean_chunk_perplexity,
        "improved_chunks": text.improved_chunks,
        "seconds_per_chunk": seconds / chunks.len() as f64,
        "tensor_bytes": bytes,
        "chunks": if with_chunks { list.collect() } else { Vec::new() },
    }))
}
