//! Temp-LoRA (Wang et al. 2024, arXiv:2401.11504): an adapter that learns a long text chunk by
//! chunk while it grows, is used for the next chunk, and is then discarded, or kept.
//!
//! A chunk is scored or generated first, and learned after, so that no score has seen what it
//! scores. Work is done in slices: [`Engine::temp_next`] moves it on and says what came of it.

use std::collections::VecDeque;

use crate::error::{Error, Result};

use crate::engine::Engine;
use crate::engine::adapters::loaded::Choice;
use crate::engine::adapters::new_lora::NewLora;
use crate::engine::text::generate::{Delta, Generation, Overflow, Request};
use crate::engine::text::mixture::Mixture;
use crate::engine::text::score::Scoring;
use crate::engine::text::stop::Tail;
use crate::engine::training::train::{Optimizer, Step};
use crate::engine::training::trainee::TraineeState;

mod options;
mod probe;
mod work;

pub use options::{Kv, Preset, TempLoraOptions};

use probe::Probe;

/// What became of one chunk. Losses are means, nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkReport {
    /// From 0.
    pub index: usize,
    /// Of the text.
    pub tokens: usize,
    /// Those that have a loss: all, but the text's first.
    pub labels: usize,
    /// Without the temporary adapter; of text that is scored, or drawn from the mix.
    pub base_loss: Option<f64>,
    /// With what the chunks before had taught it.
    pub adapted_loss: Option<f64>,
    /// Of the two mixed by their merits so far, see [`Mixture`].
    pub mixed_loss: Option<f64>,
    /// Before each step on the chunk; none where it was not learned.
    pub train_losses: Vec<f64>,
    /// Of those steps.
    pub learning_rate: f32,
    /// Whether what the chunk before had taught was undone.
    pub rolled_back: bool,
    /// Learning rates that were tried on the chunks before, and the mean loss of what followed each; the
    /// best one is that of this chunk and all to come. Empty but for the chunk that decided.
    pub probed: Vec<(f32, f64)>,
}

/// What a call of [`Engine::temp_next`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TempEvent {
    /// Nothing is left to do.
    Idle,
    /// A slice of a chunk's work: `score`, `generate`, `probe` or `train`, work done of all.
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
    optimizer: Optimizer,
    /// The newest tokens that have been learned, at most a context of them.
    context: Vec<u32>,
    /// Tokens to score, if asked, and to learn.
    pending: VecDeque<u32>,
    evaluates: bool,
    /// What is generated, if anything is.
    request: Option<Request>,
    /// Whether it is drawn from the mix of base and adapted model.
    mixes: bool,
    left: usize,
    chunk: Vec<u32>,
    /// Whether the chunk was generated, not given.
    drawn: bool,
    report: ChunkReport,
    mixture: Mixture,
    work: Work,
    /// The adapter before the last chunk was learned, and the steps it had taken.
    snapshot: Option<(TraineeState, u32)>,
    /// What of the text is not shown yet, where a chunk has ended in it.
    tail: Option<Tail>,
    chunks_since_reset: usize,
    probe: Probe,
}

#[derive(Debug)]
enum Work {
    None,
    ScoreBase(Scoring, After),
    ScoreAdapted(Scoring, Vec<f64>, After),
    /// As another learning rate would have it.
    Judge(Scoring, After),
    Generate(Box<Generation>),
    Train(Box<Step>, After),
    /// All there was to learn, if anything.
    Learned(After),
}

/// The generation that goes on after a chunk's work, if one does.
type After = Option<Box<Generation>>;

impl TempLora {
    /// As it was made.
    pub fn options(&self) -> &TempLoraOptions {
        &self.options
    }

    /// The adapters at work on its text.
    fn choice(&self) -> Choice {
        let mut choice = self.options.beside.clone();
        choice.push((self.options.name.clone(), 1.0));
        choice
    }

    /// Whether there is a text to go on with.
    pub fn has_text(&self) -> bool {
        !(self.context.is_empty() && self.chunk.is_empty() && self.pending.is_empty())
    }

    /// Whether all that was asked for is done.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::None) && self.pending.is_empty() && self.request.is_none()
    }

    fn learning_rate(&self) -> f32 {
        let TempLoraOptions { learning_rate, warmup_chunks, warmup_start, .. } = self.options;
        let warm = (self.report.index + warmup_start) as f32 / warmup_chunks.max(1) as f32;
        learning_rate * self.probe.multiple() * if warmup_chunks == 0 { 1.0 } else { warm.min(1.0) }
    }

    /// Context and chunk, and where the chunk's labels begin.
    fn window(&self) -> (Vec<u32>, usize) {
        let tokens = [&self.context[..], &self.chunk].concat();
        (tokens, self.context.len().max(1))
    }
}

impl Engine {
    /// Begins a temporary adapter. The base, and every other adapter, stay as they are.
    ///
    /// Errors with `Argument` for an option out of range or while another adapter is trained,
    /// `Unsupported` for adapters beside it that cannot be trained through, `Memory`.
    pub async fn begin_temp_lora(&mut self, options: TempLoraOptions) -> Result<TempLora> {
        options.check(self.model.context())?;
        if self.adapters.find(&options.name).is_ok() {
            return Err(Error::argument(format!("adapter `{}` is there already", options.name)));
        }
        if let Some(other) = self.trained_adapter() {
            return Err(Error::argument(format!("adapter `{other}` is being trained, end that first")));
        }
        self.check_trains_through(&options.beside)?;
        match &options.warm_start {
            Some(from) => self.copy_adapter(from, &options.name).await?,
            None => {
                let TempLoraOptions { variant, rank, alpha, target_modules, seed, .. } = options.clone();
                self.new_lora(&options.name, &NewLora { variant, rank, alpha, target_modules, seed }).await?;
            }
        }
        if let Err(e) = self.begin_training_reserved(&options.name, options.room()).await {
            self.delete_adapter(&options.name)?;
            return Err(e);
        }
        if let Err(e) = self.check_kernels().await {
            self.end_training()?;
            self.delete_adapter(&options.name)?;
            return Err(e);
        }
        let optimizer = Optimizer { dropout: options.dropout, seed: options.seed, ..Optimizer::default() };
        let probe = if options.probe_rate { Probe::Waiting } else { Probe::Over };
        Ok(TempLora {
            options,
            optimizer,
            context: Vec::new(),
            pending: VecDeque::new(),
            evaluates: false,
            request: None,
            mixes: false,
            left: 0,
            chunk: Vec::new(),
            drawn: false,
            report: ChunkReport::default(),
            mixture: Mixture::default(),
            work: Work::None,
            snapshot: None,
            tail: None,
            chunks_since_reset: 0,
            probe,
        })
    }

    /// Appends a text to be learned; with `evaluate` each chunk is scored first, with and without
    /// the adapter. [`temp_next`](Self::temp_next) does it.
    ///
    /// Errors with `Argument` for a token the base does not have, or while a text is generated.
    pub fn temp_learn(&mut self, temp: &mut TempLora, tokens: &[u32], evaluate: bool) -> Result<()> {
        self.check_ids(tokens)?;
        if temp.request.is_some() {
            return Err(Error::argument("a text is being generated, cancel that first"));
        }
        temp.pending.extend(tokens);
        temp.evaluates = evaluate;
        Ok(())
    }

    /// Goes on with the text, drawing tokens as `request` says: its prompt is put after what is
    /// there, and each chunk is learned once it is drawn. `max_tokens` counts them all. With `mix` they
    /// are drawn from the never-worse mix of base and adapted model, which takes two slots and two rows
    /// a token. [`temp_next`](Self::temp_next) does it.
    ///
    /// Errors with `Argument` for options out of range, no token to begin with, an engine of too few slots,
    /// or while other work is left.
    pub fn temp_generate(&mut self, temp: &mut TempLora, request: Request, mix: bool) -> Result<()> {
        if !temp.is_idle() {
            return Err(Error::argument("the temporary adapter has work left"));
        }
        self.check_ids(&request.prompt)?;
        if temp.context.is_empty() && request.prompt.is_empty() {
            return Err(Error::argument("prompt: no tokens"));
        }
        let slots = 1 + usize::from(mix) + usize::from(temp.options.kv != Kv::Recompute);
        if slots > self.model.slots() {
            return Err(Error::argument(format!(
                "keys and values that are kept, and a mix, take {slots} slots in all, expected an engine of `batch` {slots} or more"
            )));
        }
        temp.mixes = mix;
        temp.left = request.max_tokens.unwrap_or(usize::MAX);
        temp.context.extend(&request.prompt);
        keep_newest(&mut temp.context, temp.options.context_tokens);
        let adapter = Some(temp.choice());
        temp.request = Some(Request { adapter, overflow: Overflow::Slide, ..request });
        temp.chunks_since_reset = 0;
        temp.tail = None;
        Ok(())
    }

    /// Moves the work on by one run, or by training as long as [`next_slices`](Self::next_slices) with `rows`.
    ///
    /// Errors with `Device`, and as generation does. The adapter is then as the last step that
    /// ended left it, and [`temp_cancel`](Self::temp_cancel) makes it usable again. Where the device
    /// was lost, the work goes on once the engine has [recovered](Self::recover).
    pub async fn temp_next(&mut self, temp: &mut TempLora, rows: usize) -> Result<TempEvent> {
        let mut work = std::mem::replace(&mut temp.work, Work::None);
        let deltas = match self.temp_compute(&mut work, rows).await {
            Ok(deltas) => deltas,
            Err(e) => {
                if self.backend.check().is_err() {
                    temp.work = work;
                } else {
                    self.temp_end_work(temp, work);
                }
                return Err(e);
            }
        };
        match work {
            Work::None if temp.request.is_some() => self.temp_draw(temp),
            Work::None => self.temp_take(temp),
            Work::ScoreBase(scoring, after) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    temp.work = Work::ScoreBase(scoring, after);
                    return Ok(TempEvent::Progress("score", done, 2 * all));
                }
                let base = self.end_scoring(scoring);
                let (tokens, first) = temp.window();
                let next = self.begin_scoring(&tokens, first, Some(&temp.choice()));
                let (scoring, after) = self.or_end(next, after)?;
                temp.work = Work::ScoreAdapted(scoring, base, after);
                Ok(TempEvent::Progress("score", all, 2 * all))
            }
            Work::ScoreAdapted(scoring, base, after) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    temp.work = Work::ScoreAdapted(scoring, base, after);
                } else {
                    let adapted = self.end_scoring(scoring);
                    let scored = self.temp_scored(temp, &base, &adapted);
                    let ((), after) = self.or_end(scored, after)?;
                    self.temp_lesson(temp, after)?;
                }
                Ok(TempEvent::Progress("score", all + done, 2 * all))
            }
            Work::Judge(scoring, after) => {
                let (done, all) = scoring.progress();
                if !scoring.is_finished() {
                    temp.work = Work::Judge(scoring, after);
                } else {
                    self.temp_judged(temp, scoring, after)?;
                }
                Ok(TempEvent::Progress("probe", done, all))
            }
            Work::Generate(generation) => self.temp_drawn(temp, generation, deltas),
            Work::Learned(after) => Ok(self.temp_learned(temp, after)),
            Work::Train(step, after) => {
                let (done, all) = step.progress();
                if !step.is_finished() {
                    temp.work = Work::Train(step, after);
                    return Ok(TempEvent::Progress("train", done, all));
                }
                temp.report.train_losses.push(step.loss());
                self.end_step(*step, &mut temp.optimizer);
                if temp.report.train_losses.len() < temp.options.epochs {
                    self.temp_train(temp, after)?;
                    return Ok(TempEvent::Progress("train", done, all));
                }
                let another = self.temp_next_rate(temp);
                let (another, after) = self.or_end(another, after)?;
                if another {
                    self.temp_train(temp, after)?;
                    return Ok(TempEvent::Progress("train", done, all));
                }
                Ok(self.temp_learned(temp, after))
            }
        }
    }

    /// What of a piece of work is the device's, and the only part that can meet its loss. Returns what
    /// was drawn.
    async fn temp_compute(&mut self, work: &mut Work, rows: usize) -> Result<Vec<Delta>> {
        match work {
            Work::None | Work::Learned(_) => {}
            Work::ScoreBase(scoring, _) | Work::ScoreAdapted(scoring, ..) | Work::Judge(scoring, _) => {
                self.next_scores(scoring).await?;
            }
            Work::Generate(generation) => return self.next(generation).await,
            Work::Train(step, _) => self.next_slices(step, rows).await?,
        }
        Ok(Vec::new())
    }

    fn temp_end_work(&mut self, temp: &mut TempLora, work: Work) {
        let after = match work {
            Work::None => None,
            Work::Learned(after) => after,
            Work::ScoreBase(scoring, after)
            | Work::ScoreAdapted(scoring, _, after)
            | Work::Judge(scoring, after) => {
                drop(self.end_scoring(scoring));
                after
            }
            Work::Generate(generation) => Some(generation),
            Work::Train(step, after) => {
                self.end_step(*step, &mut temp.optimizer);
                after
            }
        };
        after.into_iter().for_each(|generation| self.end(*generation));
    }

    /// Drops what is under way and what is left to do; the adapter stays as the last step that
    /// ended left it. A given text stays as far as it was learned, a generated one whole: it has been
    /// read, and what is generated next goes on from its end.
    pub fn temp_cancel(&mut self, temp: &mut TempLora) {
        if let Work::Judge(..) | Work::Train(..) = temp.work {
            self.temp_drop_trial(temp);
        }
        let work = std::mem::replace(&mut temp.work, Work::None);
        self.temp_end_work(temp, work);
        temp.pending.clear();
        if temp.drawn {
            temp.context.append(&mut temp.chunk);
            keep_newest(&mut temp.context, temp.options.context_tokens);
        }
        temp.chunk.clear();
        temp.request = None;
        temp.report = ChunkReport { index: temp.report.index, ..ChunkReport::default() };
    }

    /// Ends a temporary adapter: it becomes an ordinary one called `keep`, or is gone and the base
    /// as if it had never been.
    ///
    /// Errors with `Argument` if the name is taken or empty, or for one that is to go if a running generation
    /// uses it: it is then still there.
    pub fn end_temp_lora(&mut self, temp: &mut TempLora, keep: Option<&str>) -> Result<()> {
        if let Some(name) = keep
            && (name.is_empty() || name != temp.options.name && self.adapters.find(name).is_ok())
        {
            return Err(Error::argument(format!("adapter `{name}`: the name is empty or taken")));
        }
        self.temp_cancel(temp);
        let name = &temp.options.name;
        if keep.is_none() {
            self.adapters.check_unused(name, self.adapters.find(name)?.id)?;
        }
        self.end_training()?;
        match keep {
            Some(name) => self.adapters.rename(&temp.options.name, name)?,
            None => self.delete_adapter(&temp.options.name)?,
        }
        Ok(())
    }
}

fn keep_newest(tokens: &mut Vec<u32>, most: usize) {
    tokens.drain(..tokens.len().saturating_sub(most));
}
