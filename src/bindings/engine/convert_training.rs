//! Options and reports of training and of Temp-LoRA, as JavaScript writes and reads them.
//! Ranges are the engine's to check.

use serde::{Deserialize, Serialize};

use crate::engine::{
    ChunkReport, Delta, Finish, Kv, NewLora, Optimizer, Step, TempEvent, TempLoraOptions, Window,
};
use crate::error::{Error, Result};

use super::convert::{Weights, or_default};

/// A new LoRA.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoraFields {
    variant: String,
    rank: usize,
    alpha: f64,
    target_modules: Vec<String>,
    seed: u32,
}

impl LoraFields {
    /// Errors with `Argument` for an unknown variant.
    pub fn check(self) -> Result<NewLora> {
        let Self { variant, rank, alpha, target_modules, seed } = self;
        Ok(NewLora { variant: variant.parse()?, rank, alpha, target_modules, seed })
    }
}

/// How its numbers move.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OptimizerFields {
    dropout: f32,
    weight_decay: f32,
    seed: u32,
}

impl OptimizerFields {
    /// Errors with `Argument` for a number out of range.
    pub fn check(self) -> Result<Optimizer> {
        let Self { dropout, weight_decay, seed } = self;
        if !(0.0..1.0).contains(&dropout) {
            return Err(Error::argument(format!("dropout {dropout}, expected 0 to below 1")));
        }
        if !(weight_decay.is_finite() && weight_decay >= 0.0) {
            return Err(Error::argument(format!("weightDecay {weight_decay}, expected 0 or more")));
        }
        Ok(Optimizer { dropout, weight_decay, seed, ..Optimizer::default() })
    }
}

/// What training needs room for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomFields {
    pub max_length: usize,
    pub memory_limit: Option<f64>,
}

/// A text to learn from, from token `first` on.
#[derive(Deserialize)]
pub struct WindowFields {
    tokens: Vec<u32>,
    first: usize,
}

impl From<WindowFields> for Window {
    fn from(WindowFields { tokens, first }: WindowFields) -> Self {
        Self { tokens, first, constant_context: false }
    }
}

/// How far a step is.
#[derive(Serialize)]
pub struct Slices {
    done: usize,
    all: usize,
    loss: f64,
    finished: bool,
}

impl Slices {
    pub fn of(step: &Step) -> Self {
        let (done, all) = step.progress();
        Self { done, all, loss: step.loss(), finished: step.is_finished() }
    }
}

/// Differences from a preset.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TempLoraFields {
    preset: Option<String>,
    name: Option<String>,
    variant: Option<String>,
    rank: Option<usize>,
    alpha: Option<f64>,
    target_modules: Option<Vec<String>>,
    seed: Option<u32>,
    dropout: Option<f32>,
    learning_rate: Option<f32>,
    probe_rate: bool,
    warmup_chunks: Option<usize>,
    warmup_start: Option<usize>,
    epochs: Option<usize>,
    chunk_tokens: Option<usize>,
    context_tokens: Option<usize>,
    constant_context: Option<bool>,
    kv: Option<KvField>,
    roll_back: Option<bool>,
    max_repetition: Option<f32>,
    score_generated: Option<bool>,
    memory_limit: Option<f64>,
    beside: Option<Weights>,
    warm_start: Option<String>,
}

/// "recompute", "stale" or {resetEvery: n}
#[derive(Deserialize)]
#[serde(untagged)]
enum KvField {
    Named(String),
    #[serde(rename_all = "camelCase")]
    Every {
        reset_every: usize,
    },
}

impl KvField {
    fn kv(self) -> Result<Kv> {
        match self {
            Self::Named(word) => word.parse(),
            Self::Every { reset_every } => Ok(Kv::ResetEvery(reset_every)),
        }
    }
}

impl TempLoraFields {
    /// The preset's options for an engine of this context, but for what is given.
    ///
    /// Errors with `Argument` for an unknown preset, variant or kv, and for what an adapter to begin from
    /// has of its own.
    pub fn over_preset(self, context: usize) -> Result<TempLoraOptions> {
        if let Some(from) = &self.warm_start
            && (self.rank.is_some() || self.alpha.is_some() || self.target_modules.is_some())
        {
            return Err(Error::argument(format!(
                "rank, alpha and targetModules are those of `{from}` where warmStart names it, leave them out"
            )));
        }
        let preset = TempLoraOptions::of(or_default(self.preset.as_deref())?, context);
        Ok(TempLoraOptions {
            name: self.name.unwrap_or(preset.name),
            variant: self.variant.map_or(Ok(preset.variant), |variant| variant.parse())?,
            rank: self.rank.unwrap_or(preset.rank),
            // Both presets have alpha = rank.
            alpha: self.alpha.or(self.rank.map(|rank| rank as f64)).unwrap_or(preset.alpha),
            target_modules: self.target_modules.unwrap_or(preset.target_modules),
            seed: self.seed.unwrap_or(preset.seed),
            dropout: self.dropout.unwrap_or(preset.dropout),
            learning_rate: self.learning_rate.unwrap_or(preset.learning_rate),
            probe_rate: self.probe_rate,
            warmup_chunks: self.warmup_chunks.unwrap_or(preset.warmup_chunks),
            warmup_start: self.warmup_start.unwrap_or(preset.warmup_start),
            epochs: self.epochs.unwrap_or(preset.epochs),
            chunk_tokens: self.chunk_tokens.unwrap_or(preset.chunk_tokens),
            context_tokens: self.context_tokens.unwrap_or(preset.context_tokens),
            constant_context: self.constant_context.unwrap_or(preset.constant_context),
            kv: self.kv.map_or(Ok(preset.kv), KvField::kv)?,
            roll_back: self.roll_back.unwrap_or(preset.roll_back),
            max_repetition: self.max_repetition.unwrap_or(preset.max_repetition),
            score_generated: self.score_generated.unwrap_or(preset.score_generated),
            memory_limit: self.memory_limit.map(|bytes| bytes as u64),
            beside: self.beside.map_or(preset.beside, |weights| weights.into_iter().collect()),
            warm_start: self.warm_start.or(preset.warm_start),
        })
    }
}

/// A temporary adapter that has begun.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TempInfo {
    id: u32,
    name: String,
    chunk_tokens: usize,
    context_tokens: usize,
}

impl TempInfo {
    pub fn of(id: u32, options: TempLoraOptions) -> Self {
        let TempLoraOptions { name, chunk_tokens, context_tokens, .. } = options;
        Self { id, name, chunk_tokens, context_tokens }
    }
}

/// [`TempEvent`]
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum JsEvent {
    Idle,
    Progress { work: &'static str, done: usize, all: usize },
    Text { text: String, tokens: Vec<u32>, finish: Option<&'static str> },
    Chunk { chunk: JsChunk },
}

/// [`ChunkReport`]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JsChunk {
    index: usize,
    tokens: usize,
    labels: usize,
    base_loss: Option<f64>,
    adapted_loss: Option<f64>,
    mixed_loss: Option<f64>,
    train_losses: Vec<f64>,
    learning_rate: f32,
    rolled_back: bool,
    probed: Option<Vec<Probed>>,
}

/// A learning rate that was tried, and what came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Probed {
    learning_rate: f32,
    loss: f64,
}

pub fn event(event: TempEvent) -> JsEvent {
    match event {
        TempEvent::Idle => JsEvent::Idle,
        TempEvent::Progress(work, done, all) => JsEvent::Progress { work, done, all },
        TempEvent::Text(Delta { text, tokens, finish, .. }) => {
            JsEvent::Text { text, tokens, finish: finish.map(Finish::as_str) }
        }
        TempEvent::Chunk(report) => {
            let ChunkReport { index, tokens, labels, base_loss, adapted_loss, .. } = report;
            let ChunkReport { mixed_loss, train_losses, learning_rate, rolled_back, probed, .. } = report;
            let probed: Vec<_> =
                probed.into_iter().map(|(learning_rate, loss)| Probed { learning_rate, loss }).collect();
            JsEvent::Chunk {
                chunk: JsChunk {
                    index,
                    tokens,
                    labels,
                    base_loss,
                    adapted_loss,
                    mixed_loss,
                    train_losses,
                    learning_rate,
                    rolled_back,
                    probed: (!probed.is_empty()).then_some(probed),
                },
            }
        }
    }
}
