//! `train`: an adapter from a text, as a PEFT folder.

use std::path::PathBuf;
use std::time::Instant;

use lorakeet::engine::{Engine, NewLora, Optimizer, Schedule, TrainingRoom, Variant, Window, folder};
use lorakeet::{Error, Result};
use serde_json::json;

use super::progress_bar;

#[derive(clap::Args)]
pub struct Train {
    /// The text to learn from
    #[arg(long)]
    data: PathBuf,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// What is trained: lora, or lora-xs, a core between singular vectors of the base's weights
    #[arg(long, default_value = "lora")]
    variant: Variant,
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// Numerator of the scale [default: twice the rank]
    #[arg(long)]
    alpha: Option<f64>,
    /// Ends of module names [default: every linear map but the head]
    #[arg(long)]
    target: Vec<String>,
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f32,
    /// How the learning rate falls once it is warm: constant, linear or cosine
    #[arg(long, default_value = "linear")]
    schedule: Schedule,
    /// Steps over which it rises first, from 0 [default: a tenth of them]
    #[arg(long)]
    warmup_steps: Option<usize>,
    /// Times to go through the text
    #[arg(long, default_value_t = 1)]
    epochs: usize,
    /// Windows of a step
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a window [default: half the context]
    #[arg(long)]
    max_length: Option<usize>,
    #[arg(long, default_value_t = 0.0)]
    dropout: f32,
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// Stop after this many steps
    #[arg(long)]
    max_steps: Option<usize>,
}

/// Trains and writes the folder.
pub async fn run(engine: &mut Engine, options: &Train, as_json: bool) -> Result<()> {
    const NAME: &str = "trained";
    let path = options.data.display();
    let text = std::fs::read_to_string(&options.data).map_err(|e| folder::failed(&options.data, &e))?;
    let ids = engine.encode(&text)?;
    let length = options.max_length.unwrap_or(engine.model().context() / 2).max(2);
    let windows: Vec<Window> = ids
        .chunks(length)
        .filter(|chunk| chunk.len() > 1)
        .map(|chunk| Window { tokens: chunk.to_vec(), first: 1, constant_context: false })
        .collect();
    if windows.is_empty() || options.batch == 0 {
        return Err(Error::argument(format!("{path}: nothing to learn from, or a batch of 0")));
    }
    let &Train { variant, rank, ref target, learning_rate, epochs, batch, dropout, seed, .. } = options;
    let alpha = options.alpha.unwrap_or(2.0 * rank as f64);
    engine.new_lora(NAME, &NewLora { variant, rank, alpha, target_modules: target.clone(), seed }).await?;
    let optimizer = Optimizer { dropout, seed, ..Optimizer::default() };
    engine.begin_training(NAME, optimizer, TrainingRoom { window: length, memory_limit: None })?;
    engine.check_kernels().await?;
    let mut choice = engine.active_adapters().clone();
    choice.push((NAME.to_owned(), 1.0));
    let all = (epochs * windows.len().div_ceil(batch)).min(options.max_steps.unwrap_or(usize::MAX));
    let bar = progress_bar(as_json, "train {bar:30} {pos}/{len} steps, loss {msg} {eta}");
    bar.set_length(all as u64);
    let warmup = options.warmup_steps.unwrap_or(all / 10);
    let (started, mut losses) = (Instant::now(), Vec::new());
    let mut order = (0..epochs).flat_map(|_| windows.chunks(batch));
    while let Some(step) = order.next().filter(|_| losses.len() < all) {
        let rate = learning_rate * options.schedule.share(losses.len(), warmup, all) as f32;
        losses.push(engine.train_step(step.to_vec(), &choice, rate).await?);
        bar.set_message(format!("{:.4}", losses[losses.len() - 1]));
        bar.inc(1);
    }
    bar.finish_and_clear();
    engine.end_training()?;
    let files = engine.export_adapter(NAME)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = options.out.join(name);
        std::fs::write(&path, bytes)
            .map_err(|e| Error::network(format!("cannot write {}: {e}", path.display())))
    };
    std::fs::create_dir_all(&options.out)
        .map_err(|e| Error::network(format!("cannot make {}: {e}", options.out.display())))?;
    write("adapter_config.json", &files.config)?;
    write("adapter_model.safetensors", &files.weights)?;
    let (seconds, last) = (started.elapsed().as_secs_f64(), losses.last().copied());
    if as_json {
        let report =
            json!({ "steps": losses.len(), "losses": losses, "seconds": seconds, "out": options.out });
        println!("{report}");
    } else {
        println!(
            "{} steps in {seconds:.1} s, loss {:.4} to {:.4}: {}",
            losses.len(),
            losses[0],
            last.unwrap_or(f64::NAN),
            options.out.display()
        );
    }
    Ok(())
}
