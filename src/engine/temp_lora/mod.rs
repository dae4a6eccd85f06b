//! Temp-LoRA (Wang et al. 2024, arXiv:2401.11504): an adapter that learns a long text chunk by
//! chunk while it grows, is used for the next chunk, and is then discarded, or kept.
//!
//! A chunk is scored or generated first, and learned after, so that no score has seen what it
//! scores. Work is done in slices: [`Engine::temp_next`](crate::engine::Engine::temp_next) moves it on and says what came of it.

use std::collections::VecDeque;

use crate::error::{Error, Result};

use crate::engine::adapters::new_lora::NewLora;
use crate::engine::owners::Owners;
use crate::engine::runner::Runner;
use crate::engine::text::mixture::Mixture;
use crate::engine::text::request::{Delta, Overflow, Request};
use crate::engine::text::sampling::Chain;
use crate::engine::text::stop::Tail;
use crate::engine::training::optimizer::Optimizer;
use crate::engine::training::trainee::TraineeState;

mod beside;
mod chunk;
mod evaluation;
mod options;
mod owners;
mod replay;
mod work;

pub use chunk::ChunkReport;
pub use evaluation::{ChunkLosses, Evaluation};
pub use options::{Kv, Preset, TempLoraOptions};

use beside::Lesson;
use chunk::Chunk;
use replay::Given;
use work::Work;

/// What a call of [`Engine::temp_next`](crate::engine::Engine::temp_next) came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TempEvent {
    /// Nothing is left to do.
    Idle,
    /// A slice of a chunk's work: `score`, `generate` or `train`, work done of all.
    Progress(&'static str, usize, usize),
    /// Text was generated.
    Text(Delta),
    /// A chunk is done with.
    Chunk(ChunkReport),
}

/// A temporary adapter and the text it learns.
#[derive(Debug)]
pub struct TempLora {
    options: TempLoraOptions,
    /// The newest tokens that have been learned, at most a context of them; in front of them the token that begins the
    /// text, if the model has such: it was trained to see it there.
    context: Vec<u32>,
    /// That token.
    bos: Option<u32>,
    /// Tokens to score, if asked, and to learn.
    pending: VecDeque<u32>,
    evaluates: bool,
    /// The text that is to be generated, if one is.
    asked: Option<Asked>,
    /// Chunks that have been learned.
    chunks: usize,
    mixture: Mixture,
    work: Work,
    /// What is learned while the text goes on.
    lesson: Option<Lesson>,
    /// The adapter before the last chunk was learned.
    snapshot: Option<TraineeState>,
    /// Given chunks that may be learned again.
    given: Given,
}

/// A text that is to be generated.
#[derive(Debug)]
struct Asked {
    request: Request,
    /// Whether it is drawn from the mix of base and adapted model.
    mixes: bool,
    /// Tokens still to be drawn.
    left: usize,
    /// What of the text is not shown yet, where a chunk has ended in it.
    tail: Option<Tail>,
    /// What its samplers remember of it.
    chain: Option<Chain>,
    chunks_since_reset: usize,
}

impl TempLora {
    /// As it was made.
    pub fn options(&self) -> &TempLoraOptions {
        &self.options
    }

    /// Whether there is a text to go on with.
    pub fn has_text(&self) -> bool {
        !(self.context.is_empty() && self.pending.is_empty() && matches!(self.work, Work::None))
    }

    /// Whether all that was asked for is done.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::None)
            && self.pending.is_empty()
            && self.asked.is_none()
            && self.lesson.is_none()
    }

    /// Of the next step on a chunk.
    fn learning_rate(&self, chunk: &Chunk) -> f32 {
        let TempLoraOptions { learning_rate, warmup_chunks, warmup_start, generated_weight, .. } =
            self.options;
        let warm = (self.chunks + warmup_start) as f32 / warmup_chunks.max(1) as f32;
        let of_chunk = if chunk.drawn { generated_weight } else { 1.0 };
        learning_rate * of_chunk * if warmup_chunks == 0 { 1.0 } else { warm.min(1.0) }
    }

    /// Leaves the newest tokens of the context, at most so many with the one that begins the text.
    fn shorten_context(&mut self, most: usize) {
        let begins = self.context.first().is_some_and(|&first| Some(first) == self.bos);
        let kept = usize::from(begins).min(most);
        let excess = self.context.len().saturating_sub(most);
        self.context.drain(kept..kept + excess);
    }
}

impl TempLora {
    /// Begins a temporary adapter. The base, and every other adapter, stay as they are.
    ///
    /// Errors with `Argument` for an option out of range or while another adapter is trained,
    /// `Unsupported` for adapters beside it that cannot be trained through, `Memory`.
    pub(crate) async fn begin(owners: &mut Owners<'_>, options: TempLoraOptions) -> Result<Self> {
        let Owners { runner, adapters, trainer, .. } = owners;
        runner.model().check_decoder("training")?;
        options.check(runner.model().context())?;
        let name = &options.name;
        if adapters.find(name).is_ok() {
            return Err(Error::argument(format!("adapter `{name}` is there already")));
        }
        adapters.check_none_trained()?;
        adapters.check_trains_through(&options.beside)?;
        match &options.warm_start {
            Some(from) => adapters.copy(runner, from, name).await?,
            None => {
                let TempLoraOptions { variant, rank, alpha, target_modules, seed, .. } = options.clone();
                let lora = NewLora { variant, rank, alpha, target_modules, seed };
                adapters.create(runner, name, &lora).await?;
            }
        }
        let optimizer = Optimizer { dropout: options.dropout, seed: options.seed, ..Optimizer::default() };
        if let Err(e) = trainer.begin(runner, adapters, name, optimizer, options.room()).await {
            adapters.delete(runner, name)?;
            return Err(e);
        }
        if let Err(e) = runner.check_kernels().await {
            trainer.end(runner, adapters).await?;
            adapters.delete(runner, name)?;
            return Err(e);
        }
        Ok(Self {
            options,
            context: Vec::new(),
            bos: runner.model().config.bos_token_id,
            pending: VecDeque::new(),
            evaluates: false,
            asked: None,
            chunks: 0,
            mixture: Mixture::default(),
            work: Work::None,
            lesson: None,
            snapshot: None,
            given: Given::default(),
        })
    }

    /// Appends a text to be learned; with `evaluate` each chunk is scored first, with and without
    /// the adapter. [`next`](Self::next) does it.
    ///
    /// Errors with `Argument` for a token the base does not have, or while a text is generated.
    pub(crate) fn learn(&mut self, runner: &Runner, tokens: &[u32], evaluate: bool) -> Result<()> {
        runner.model().check_ids(tokens)?;
        if self.asked.is_some() {
            return Err(Error::argument("a text is being generated, cancel that first"));
        }
        self.pending.extend(tokens);
        self.evaluates = evaluate;
        Ok(())
    }

    /// Goes on with the text, drawing tokens as `request` says: its prompt is put after what is
    /// there, and each chunk is learned once it is drawn. `max_tokens` counts them all. With `mix` they
    /// are drawn from the never-worse mix of base and adapted model, which takes two slots and two rows
    /// a token. [`next`](Self::next) does it.
    ///
    /// Errors with `Argument` for options out of range, no token to begin with, an engine of too few slots,
    /// or while other work is left.
    pub(crate) fn generate(&mut self, runner: &Runner, request: Request, mix: bool) -> Result<()> {
        if !self.is_idle() {
            return Err(Error::argument("the temporary adapter has work left"));
        }
        runner.model().check_ids(&request.prompt)?;
        if self.context.is_empty() && request.prompt.is_empty() {
            return Err(Error::argument("prompt: no tokens"));
        }
        let slots = 1 + usize::from(mix) + usize::from(self.options.keeps_text());
        if slots > runner.model().slots() {
            return Err(Error::argument(format!(
                "keys and values that are kept, and a mix, take {slots} slots in all, expected an engine of `batch` {slots} or more"
            )));
        }
        self.context.extend(&request.prompt);
        self.shorten_context(self.options.context_tokens);
        let (left, tail, chain) = (request.max_tokens.unwrap_or(usize::MAX), None, None);
        let request = Request { adapter: Some(self.options.acting()), overflow: Overflow::Slide, ..request };
        self.asked = Some(Asked { request, mixes: mix, left, tail, chain, chunks_since_reset: 0 });
        Ok(())
    }

    /// Moves the work on by one run, or by training as long as [`Trainer::next_slices`] with `rows`.
    ///
    /// Errors with `Device`, and as generation does. The adapter is then as the last step that
    /// ended left it, and [`cancel`](Self::cancel) makes it usable again. Where the device
    /// was lost, the work goes on once the engine has recovered.
    pub(crate) async fn next(&mut self, owners: &mut Owners<'_>, rows: usize) -> Result<TempEvent> {
        if self.is_lesson_due() {
            return self.next_of_lesson(owners, rows).await;
        }
        let mut work = std::mem::replace(&mut self.work, Work::None);
        let deltas = match work::compute(owners, &mut work, rows).await {
            Ok(deltas) => deltas,
            Err(e) => {
                if owners.runner.backend().check().is_err() {
                    self.work = work;
                } else {
                    self.drop_work(owners, work);
                }
                return Err(e);
            }
        };
        match work {
            Work::None if self.asked.is_some() => self.begin_drawing(owners),
            Work::None => self.take_chunk(owners),
            Work::Draw(generation, drawn) => self.text_drawn(owners, generation, drawn, deltas),
            Work::ScoreBase(chunk, scoring) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    self.work = Work::ScoreBase(chunk, scoring);
                    return Ok(TempEvent::Progress("score", done, 2 * all));
                }
                let base = owners.end_scoring(scoring);
                let next = owners.begin_scoring(&chunk.window, chunk.first, &self.options.acting());
                let (scoring, chunk) = self.or_drop(owners, next, chunk)?;
                self.work = Work::ScoreAdapted(chunk, scoring, base);
                Ok(TempEvent::Progress("score", all, 2 * all))
            }
            Work::ScoreAdapted(chunk, scoring, base) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    self.work = Work::ScoreAdapted(chunk, scoring, base);
                } else {
                    let adapted = owners.end_scoring(scoring);
                    self.chunk_scored(owners, chunk, &base, &adapted)?;
                }
                Ok(TempEvent::Progress("score", all + done, 2 * all))
            }
            Work::DrawBase(mut chunk, scoring) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    self.work = Work::DrawBase(chunk, scoring);
                } else {
                    chunk.of_base = owners.end_drawing(scoring);
                    self.begin_lesson(owners, chunk)?;
                }
                Ok(TempEvent::Progress("score", done, all))
            }
            Work::Learned(chunk) => Ok(self.chunk_learned(chunk)),
            Work::Train(chunk, step) => {
                let (done, all) = step.progress();
                if !step.is_finished() {
                    self.work = Work::Train(chunk, step);
                    return Ok(TempEvent::Progress("train", done, all));
                }
                let learned = self.step_taken(owners, chunk, *step)?;
                Ok(learned.unwrap_or(TempEvent::Progress("train", done, all)))
            }
        }
    }

    /// What succeeded, with the chunk; on an error that is dropped.
    fn or_drop<T>(&mut self, owners: &mut Owners<'_>, result: Result<T>, chunk: Chunk) -> Result<(T, Chunk)> {
        match result {
            Ok(value) => Ok((value, chunk)),
            Err(e) => {
                self.drop_chunk(owners, chunk);
                Err(e)
            }
        }
    }

    /// Work on a chunk ends before it is learned. One that was drawn has been read, and stays of the text.
    fn drop_chunk(&mut self, owners: &mut Owners<'_>, chunk: Chunk) {
        chunk.after.into_iter().for_each(|generation| owners.end(*generation));
        if chunk.drawn {
            self.context = chunk.window;
            self.shorten_context(self.options.context_tokens);
        }
    }

    fn drop_work(&mut self, owners: &mut Owners<'_>, work: Work) {
        match work {
            Work::None => {}
            Work::Draw(generation, drawn) => {
                owners.end(*generation);
                self.context.extend(drawn);
                self.shorten_context(self.options.context_tokens);
            }
            Work::ScoreBase(chunk, scoring)
            | Work::ScoreAdapted(chunk, scoring, _)
            | Work::DrawBase(chunk, scoring) => {
                drop(owners.end_scoring(scoring));
                self.drop_chunk(owners, chunk);
            }
            Work::Train(chunk, step) => {
                owners.end_step(*step);
                self.drop_chunk(owners, chunk);
            }
            Work::Learned(chunk) => self.drop_chunk(owners, chunk),
        }
    }

    /// Drops what is under way and what is left to do; the adapter stays as the last step that
    /// ended left it. A given text stays as far as it was learned, a generated one whole: it has been
    /// read, and what is generated next goes on from its end.
    pub(crate) fn cancel(&mut self, owners: &mut Owners<'_>) {
        let work = std::mem::replace(&mut self.work, Work::None);
        self.drop_work(owners, work);
        self.drop_lesson(owners);
        self.pending.clear();
        self.asked = None;
    }

    /// Ends a temporary adapter: it becomes an ordinary one called `keep`, or is gone and the base
    /// as if it had never been.
    ///
    /// Errors with `Argument` if the name is taken or empty, or for one that is to go if a running generation
    /// uses it: it is then still there.
    pub(crate) async fn end(&mut self, owners: &mut Owners<'_>, keep: Option<&str>) -> Result<()> {
        if let Some(name) = keep
            && (name.is_empty() || name != self.options.name && owners.adapters.find(name).is_ok())
        {
            return Err(Error::argument(format!("adapter `{name}`: the name is empty or taken")));
        }
        self.cancel(owners);
        let Owners { runner, adapters, trainer, .. } = owners;
        let name = &self.options.name;
        if keep.is_none() {
            adapters.check_unused(name, adapters.find(name)?.id)?;
            trainer.forget(adapters);
        }
        trainer.end(runner, adapters).await?;
        match keep {
            Some(keep) => adapters.rename(name, keep),
            None => adapters.delete(runner, name),
        }
    }
}
