//! Options and reports of training and of Temp-LoRA, as JavaScript writes and reads them.
//! Ranges are the engine's to check.

use serde::{Deserialize, Serialize};

use crate::engine::{
    Asked, ChunkLosses, ChunkReport, Delta, Engine, Evaluation, Finish, Kv, StepReport, TempEvent,
    TempLoraOptions, TrainEvent, TrainOptions,
};
use crate::error::{Error, Result};

use crate::tokenizer::Message;

use super::convert::{Weights, or_default};

/// Differences from the program's defaults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrainFields {
    name: String,
    variant: Option<String>,
    rank: Option<usize>,
    alpha: Option<f64>,
    target_modules: Option<Vec<String>>,
    epochs: Option<usize>,
    learning_rate: Option<f64>,
    schedule: Option<String>,
    warmup_steps: Option<usize>,
    batch: Option<usize>,
    max_length: Option<usize>,
    memory_limit: Option<f64>,
    completion_only: Option<bool>,
    dropout: Option<f64>,
    weight_decay: Option<f64>,
    seed: Option<u32>,
    resume: Option<bool>,
    checkpoint_every: Option<usize>,
}

impl TrainFields {
    /// Errors with `Argument` for an unknown variant or schedule.
    pub(crate) fn check(self) -> Result<TrainOptions> {
        let defaults = TrainOptions::new(&self.name);
        Ok(TrainOptions {
            variant: or_default(self.variant.as_deref())?,
            rank: self.rank,
            alpha: self.alpha,
            target_modules: self.target_modules,
            epochs: self.epochs.unwrap_or(defaults.epochs),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            schedule: or_default(self.schedule.as_deref())?,
            warmup_steps: self.warmup_steps.unwrap_or(defaults.warmup_steps),
            batch: self.batch.unwrap_or(defaults.batch),
            max_length: self.max_length,
            memory_limit: self.memory_limit.map(|bytes| bytes as u64),
            completion_only: self.completion_only,
            dropout: self.dropout.unwrap_or(defaults.dropout),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            seed: self.seed.unwrap_or(defaults.seed),
            resume: self.resume.unwrap_or(defaults.resume),
            checkpoint_every: self.checkpoint_every,
            ..defaults
        })
    }
}

/// [`Asked`]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsAsked {
    messages: Vec<Message>,
    is_open: bool,
}

impl From<Asked> for JsAsked {
    fn from(Asked { messages, is_open }: Asked) -> Self {
        Self { messages, is_open }
    }
}

/// [`TrainEvent`]
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum JsTrainEvent {
    Progress { done: usize, all: usize },
    Step { step: JsStep },
    Done,
}

/// [`StepReport`]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsStep {
    step: usize,
    steps: usize,
    epoch: usize,
    loss: f64,
    lr: f64,
    tokens: usize,
    is_checkpoint: bool,
}

impl From<TrainEvent> for JsTrainEvent {
    fn from(event: TrainEvent) -> Self {
        match event {
            TrainEvent::Progress(done, all) => Self::Progress { done, all },
            TrainEvent::Step(report) => {
                let StepReport { step, steps, epoch, loss, learning_rate: lr, tokens, is_checkpoint } =
                    report;
                Self::Step { step: JsStep { step, steps, epoch, loss, lr, tokens, is_checkpoint } }
            }
            TrainEvent::Done => Self::Done,
        }
    }
}

/// What an evaluation reads of [`JsChunk`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChunkFields {
    tokens: usize,
    labels: usize,
    base_loss: Option<f64>,
    adapted_loss: Option<f64>,
    mixed_loss: Option<f64>,
}

impl From<ChunkFields> for ChunkLosses {
    fn from(chunk: ChunkFields) -> Self {
        let ChunkFields { tokens, labels, base_loss, adapted_loss, mixed_loss } = chunk;
        let means = base_loss.zip(adapted_loss).zip(mixed_loss);
        Self { tokens, labels, means: means.map(|((base, adapted), mixed)| [base, adapted, mixed]) }
    }
}

/// [`Evaluation`]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsEvaluation {
    tokens: usize,
    base_perplexity: f64,
    perplexity: f64,
    mixed_perplexity: f64,
    mean_chunk_base_perplexity: f64,
    mean_chunk_perplexity: f64,
}

impl From<Evaluation> for JsEvaluation {
    fn from(evaluation: Evaluation) -> Self {
        let Evaluation {
            tokens,
            base_perplexity,
            perplexity,
            mixed_perplexity,
            mean_chunk_base_perplexity,
            mean_chunk_perplexity,
            ..
        } = evaluation;
        Self {
            tokens,
            base_perplexity,
            perplexity,
            mixed_perplexity,
            mean_chunk_base_perplexity,
            mean_chunk_perplexity,
        }
    }
}

/// Differences from a preset.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TempLoraFields {
    preset: Option<String>,
    name: Option<String>,
    variant: Option<String>,
    rank: Option<usize>,
    alpha: Option<f64>,
    target_modules: Option<Vec<String>>,
    seed: Option<u32>,
    dropout: Option<f32>,
    learning_rate: Option<f32>,
    warmup_chunks: Option<usize>,
    warmup_start: Option<usize>,
    epochs: Option<usize>,
    chunk_tokens: Option<usize>,
    context_tokens: Option<usize>,
    constant_context: Option<bool>,
    kv: Option<KvField>,
    roll_back: Option<bool>,
    generated_weight: Option<f32>,
    generated_kl: Option<f32>,
    replay: Option<usize>,
    max_repetition: Option<f32>,
    score_generated: Option<bool>,
    weight: Option<f32>,
    overlap: Option<bool>,
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
    /// The preset's options for the engine's model, but for what is given.
    ///
    /// Errors with `Argument` for an unknown preset, variant or kv, and for what an adapter to begin from
    /// has of its own.
    pub(crate) fn over_preset(self, engine: &Engine) -> Result<TempLoraOptions> {
        if let Some(from) = &self.warm_start
            && (self.rank.is_some() || self.alpha.is_some() || self.target_modules.is_some())
        {
            return Err(Error::argument(format!(
                "rank, alpha and targetModules are those of `{from}` where warmStart names it, leave them out"
            )));
        }
        let preset = TempLoraOptions::of(or_default(self.preset.as_deref())?, engine.model());
        Ok(TempLoraOptions {
            name: self.name.unwrap_or(preset.name),
            variant: self.variant.map_or(Ok(preset.variant), |variant| variant.parse())?,
            rank: self.rank.unwrap_or(preset.rank),
            // All presets have alpha = rank.
            alpha: self.alpha.or(self.rank.map(|rank| rank as f64)).unwrap_or(preset.alpha),
            target_modules: self.target_modules.unwrap_or(preset.target_modules),
            seed: self.seed.unwrap_or(preset.seed),
            dropout: self.dropout.unwrap_or(preset.dropout),
            learning_rate: self.learning_rate.unwrap_or(preset.learning_rate),
            warmup_chunks: self.warmup_chunks.unwrap_or(preset.warmup_chunks),
            warmup_start: self.warmup_start.unwrap_or(preset.warmup_start),
            epochs: self.epochs.unwrap_or(preset.epochs),
            chunk_tokens: self.chunk_tokens.unwrap_or(preset.chunk_tokens),
            context_tokens: self.context_tokens.unwrap_or(preset.context_tokens),
            constant_context: self.constant_context.unwrap_or(preset.constant_context),
            kv: self.kv.map_or(Ok(preset.kv), KvField::kv)?,
            roll_back: self.roll_back.unwrap_or(preset.roll_back),
            generated_weight: self.generated_weight.unwrap_or(preset.generated_weight),
            generated_kl: self.generated_kl.unwrap_or(preset.generated_kl),
            replay: self.replay.unwrap_or(preset.replay),
            max_repetition: self.max_repetition.unwrap_or(preset.max_repetition),
            score_generated: self.score_generated.unwrap_or(preset.score_generated),
            weight: self.weight.unwrap_or(preset.weight),
            overlap: self.overlap.unwrap_or(preset.overlap),
            memory_limit: self.memory_limit.map(|bytes| bytes as u64),
            beside: self.beside.map_or(preset.beside, |weights| weights.into_iter().collect()),
            warm_start: self.warm_start.or(preset.warm_start),
        })
    }
}

/// A temporary adapter that has begun.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TempInfo {
    id: u32,
    name: String,
    chunk_tokens: usize,
    context_tokens: usize,
}

impl TempInfo {
    pub(crate) fn of(id: u32, options: TempLoraOptions) -> Self {
        let TempLoraOptions { name, chunk_tokens, context_tokens, .. } = options;
        Self { id, name, chunk_tokens, context_tokens }
    }
}

/// [`TempEvent`]
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum JsEvent {
    Idle,
    Progress { work: &'static str, done: usize, all: usize },
    Text { text: String, tokens: Vec<u32>, finish: Option<&'static str> },
    Chunk { chunk: JsChunk },
}

/// [`ChunkReport`]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsChunk {
    index: usize,
    tokens: usize,
    labels: usize,
    base_loss: Option<f64>,
    adapted_loss: Option<f64>,
    mixed_loss: Option<f64>,
    train_losses: Vec<f64>,
    learning_rate: f32,
    rolled_back: bool,
}

pub(crate) fn event(event: TempEvent) -> JsEvent {
    match event {
        TempEvent::Idle => JsEvent::Idle,
        TempEvent::Progress(work, done, all) => JsEvent::Progress { work, done, all },
        TempEvent::Text(Delta { text, tokens, finish, .. }) => {
            JsEvent::Text { text, tokens, finish: finish.map(Finish::as_str) }
        }
        TempEvent::Chunk(report) => {
            let ChunkReport { index, tokens, labels, base_loss, adapted_loss, .. } = report;
            let ChunkReport { mixed_loss, train_losses, learning_rate, rolled_back, .. } = report;
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
                },
            }
        }
    }
}
