//! `train`: an adapter from a text or a dataset, as a PEFT folder.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use lorakeet::engine::{Engine, Program, Schedule, TrainEvent, TrainOptions, Variant, folder};
use lorakeet::tokenizer::{ChatContext, Json};
use lorakeet::words::Words;
use lorakeet::{Error, Result};
use serde_json::{Value, json};

use super::{progress_bar, word};

#[derive(clap::Args)]
pub(crate) struct Train {
    /// What to learn: a text, or, by its ending, a `.json` list or `.jsonl` lines of texts, {prompt, completion},
    /// {messages}, {instruction, output, input?} and {conversations}
    #[arg(long)]
    data: PathBuf,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// What is trained: lora, or lora-xs, a core between singular vectors of the base's weights
    #[arg(long, default_value = Variant::default().word(), value_parser = word::<Variant>())]
    variant: Variant,
    /// [default: 8]
    #[arg(long)]
    rank: Option<usize>,
    /// Numerator of the scale [default: twice the rank]
    #[arg(long)]
    alpha: Option<f64>,
    /// Ends of module names [default: every linear map but the head]
    #[arg(long)]
    target: Vec<String>,
    /// [default: 0.001]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// How the learning rate falls once it is warm [default: linear]
    #[arg(long, value_parser = word::<Schedule>())]
    schedule: Option<Schedule>,
    /// Steps over which it rises first, from 0 [default: 0]
    #[arg(long)]
    warmup_steps: Option<usize>,
    /// Times to go through the dataset [default: 3]
    #[arg(long)]
    epochs: Option<usize>,
    /// Windows of a step [default: 1]
    #[arg(long)]
    batch: Option<usize>,
    /// Tokens of a window [default: 256, or the context if that is less]
    #[arg(long)]
    max_length: Option<usize>,
    /// Whether examples teach their completions, and conversations their answers, alone (true or false)
    #[arg(long)]
    completion_only: Option<bool>,
    /// [default: 0]
    #[arg(long)]
    dropout: Option<f64>,
    /// [default: 0]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// [default: 0]
    #[arg(long)]
    seed: Option<u32>,
    /// Stop after this many steps
    #[arg(long)]
    max_steps: Option<usize>,
}

impl Train {
    fn options(&self, engine: &Engine) -> TrainOptions {
        let defaults = TrainOptions::new("trained");
        TrainOptions {
            variant: self.variant,
            rank: self.rank,
            alpha: self.alpha,
            target_modules: Some(self.target.clone()),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            schedule: self.schedule.unwrap_or(defaults.schedule),
            warmup_steps: self.warmup_steps.unwrap_or(defaults.warmup_steps),
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch: self.batch.unwrap_or(defaults.batch),
            max_length: self.max_length,
            completion_only: self.completion_only,
            dropout: self.dropout.unwrap_or(defaults.dropout),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            seed: self.seed.unwrap_or(defaults.seed),
            max_steps: self.max_steps,
            beside: engine.active_adapters().clone(),
            ..defaults
        }
    }
}

/// Trains and writes the folder. `model` is where the engine's is from.
pub(crate) async fn run(engine: &mut Engine, options: &Train, model: &Path, as_json: bool) -> Result<()> {
    let mut program = engine.plan_training(options.options(engine))?;
    give(engine, &mut program, options, model)?;
    engine.begin_program(&mut program, None).await?;
    let bar = progress_bar(as_json, "train {bar:30} {pos}/{len} steps, loss {msg} {eta}");
    bar.set_length(program.steps() as u64);
    let (started, mut losses) = (Instant::now(), Vec::new());
    let result = loop {
        match engine.next_of_training(&mut program, usize::MAX).await {
            Ok(TrainEvent::Step(step)) => {
                losses.push(step.loss);
                bar.set_message(format!("{:.4}", step.loss));
                bar.inc(1);
            }
            Ok(TrainEvent::Progress(..)) => {}
            Ok(TrainEvent::Done) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    bar.finish_and_clear();
    engine.end_program(&mut program).await?;
    result?;
    folder::save_adapter(&engine.export_adapter(program.name()).await?, &options.out)?;
    let (steps, seconds) = (losses.len(), started.elapsed().as_secs_f64());
    if as_json {
        println!("{}", json!({ "steps": steps, "losses": losses, "seconds": seconds, "out": options.out }));
    } else {
        let (first, last) = (losses[0], losses[steps - 1]);
        println!("{steps} steps in {seconds:.1} s, loss {first:.4} to {last:.4}: {}", options.out.display());
    }
    Ok(())
}

/// Gives the training what is in the file.
fn give(engine: &Engine, program: &mut Program, options: &Train, model: &Path) -> Result<()> {
    let mut template = None;
    for item in items(&options.data)? {
        let asked = engine.add_to_training(program, &item)?;
        if asked.is_empty() {
            continue;
        }
        let template = match &mut template {
            Some(template) => template,
            none => none.insert(folder::chat_template(engine, model)?),
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as i64);
        let write = |conversation: lorakeet::engine::Asked| {
            let add_generation_prompt = conversation.is_open;
            let context = ChatContext { add_generation_prompt, now, ..ChatContext::default() };
            engine.encode_chat(&template.render(&Json::of(&conversation.messages), &context)?)
        };
        let tokens = asked.into_iter().map(write).collect::<Result<_>>()?;
        engine.add_conversations(program, tokens)?;
    }
    Ok(())
}

/// The items of a dataset's file.
fn items(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| folder::failed(path, &e))?;
    let broken = |e: serde_json::Error| Error::format(format!("{}: {e}", path.display()));
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(broken),
        Some("jsonl") => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(|line| serde_json::from_str(line).map_err(broken)).collect()
        }
        _ => Ok(vec![text.into()]),
    }
}
