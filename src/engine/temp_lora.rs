//! Temp-LoRA (Wang et al. 2024, arXiv:2401.11504): an adapter that learns a long text chunk by
//! chunk while it grows, is used for the next chunk, and is then discarded, or kept.
//!
//! A chunk is scored or generated first, and learned after, so that no score has seen what it
//! scores. Work is done in slices: [`Engine::temp_next`] moves it on and says what came of it.

use std::collections::VecDeque;

use crate::error::{Error, Result};

use super::Engine;
use super::adapter::ModuleDelta;
use super::adapters::Choice;
use super::generate::{Delta, Generation, Overflow, Request};
use super::mixture::Mixture;
use super::score::Scoring;
use super::train::{Optimizer, Step, Window};
use super::trainee::NewLora;

/// What happens to the keys and values of the text when the adapter has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kv {
    /// They are computed anew from the context before each chunk.
    Recompute,
    /// Those of older versions stay, until the window slides.
    Stale,
    /// They stay, and are computed anew before every n-th chunk.
    ResetEvery(usize),
}

/// How a temporary adapter learns.
#[derive(Clone, Debug, PartialEq)]
pub struct TempLoraOptions {
    /// Its name in the bank while it lives.
    pub name: String,
    /// R
    pub rank: usize,
    /// Numerator of the scale alpha / R.
    pub alpha: f64,
    /// Ends of the names of the modules to adapt; empty is every linear map but the head.
    pub target_modules: Vec<String>,
    /// Of A's first numbers and of dropout.
    pub seed: u32,
    /// Probability of an element of a LoRA's input to be dropped, in training.
    pub dropout: f32,
    /// AdamW's, once warm.
    pub learning_rate: f32,
    /// Chunks until it is warm; chunk t learns at min(1, (t + `warmup_start`) / warmup) of it.
    pub warmup_chunks: usize,
    /// 0 as published, where the first chunk teaches nothing; 1 lets it teach.
    pub warmup_start: usize,
    /// Steps on each chunk.
    pub epochs: usize,
    /// Tokens of a chunk.
    pub chunk_tokens: usize,
    /// Tokens before it, that a chunk is scored, generated and learned under.
    pub context_tokens: usize,
    /// Whether the context's keys and values count as constant in training: about half the work.
    pub constant_context: bool,
    /// In generation.
    pub kv: Kv,
    /// Undo what the last chunk taught where the next one is scored worse than by the base.
    pub roll_back: bool,
    /// Learn nothing from a generated chunk of whose runs of four tokens more than this share
    /// occurred before in it or its context; 1 learns from all.
    pub max_repetition: f32,
    /// Score generated chunks as given ones are: two more passes over each.
    pub score_generated: bool,
    /// Other adapters at work beside it.
    pub beside: Choice,
    /// An adapter to begin as a copy of, instead of doing nothing at first.
    pub warm_start: Option<String>,
}

impl TempLoraOptions {
    /// The published code's constants, for an engine of this context: chunks of 1024 tokens after
    /// as many, or half the context each where it has less room.
    pub fn paper(context: usize) -> Self {
        let chunk = (context / 2).min(1024);
        Self {
            name: "temp".to_owned(),
            rank: 64,
            alpha: 64.0,
            target_modules: Vec::new(),
            seed: 42,
            dropout: 0.05,
            learning_rate: 5e-5,
            warmup_chunks: 2,
            warmup_start: 0,
            epochs: 2,
            chunk_tokens: chunk,
            context_tokens: chunk,
            constant_context: false,
            kv: Kv::Recompute,
            roll_back: false,
            max_repetition: 1.0,
            score_generated: false,
            beside: Choice::new(),
            warm_start: None,
        }
    }

    /// What measures best on models of a few million parameters (see the README): short chunks
    /// after as much context as there is, no warm-up, no gradient through the context.
    pub fn small(context: usize) -> Self {
        let chunk = (context / 4).min(128);
        Self {
            rank: 32,
            alpha: 32.0,
            dropout: 0.0,
            learning_rate: 1e-3,
            warmup_chunks: 0,
            chunk_tokens: chunk,
            context_tokens: (context - chunk).min(896),
            constant_context: true,
            max_repetition: 0.5,
            ..Self::paper(context)
        }
    }

    fn check(&self, context: usize) -> Result<()> {
        let range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let rate = f64::from(self.learning_rate);
        range("learningRate", rate, rate.is_finite() && rate >= 0.0, "0 or more")?;
        range("dropout", f64::from(self.dropout), (0.0..1.0).contains(&self.dropout), "0 to below 1")?;
        range("chunkTokens", self.chunk_tokens as f64, self.chunk_tokens > 1, "at least 2")?;
        let repetition = self.max_repetition;
        range("maxRepetition", f64::from(repetition), (0.0..=1.0).contains(&repetition), "0 to 1")?;
        if let Kv::ResetEvery(0) = self.kv {
            return Err(Error::argument("kv.resetEvery 0, expected at least 1"));
        }
        if self.chunk_tokens + self.context_tokens > context {
            return Err(Error::argument(format!(
                "chunkTokens {} and contextTokens {} exceed the context of {context}",
                self.chunk_tokens, self.context_tokens
            )));
        }
        Ok(())
    }
}

/// What became of one chunk. Losses are means, nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkReport {
    /// From 0.
    pub index: usize,
    /// Of the text.
    pub tokens: usize,
    /// Those that have a loss: all, but the text's first.
    pub labels: usize,
    /// Without the temporary adapter; of text that is scored.
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
}

/// What a call of [`Engine::temp_next`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TempEvent {
    /// Nothing is left to do.
    Idle,
    /// A slice of a chunk's work: `score`, `generate` or `train`, slices done of all.
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
    left: usize,
    chunk: Vec<u32>,
    /// Whether the chunk was generated, not given.
    drawn: bool,
    report: ChunkReport,
    mixture: Mixture,
    work: Work,
    /// A and B before the last chunk was learned.
    snapshot: Option<Vec<ModuleDelta>>,
    chunks_since_reset: usize,
}

#[derive(Debug)]
enum Work {
    None,
    ScoreBase(Scoring, After),
    ScoreAdapted(Scoring, Vec<f64>, After),
    Generate(Box<Generation>),
    Train(Box<Step>, After),
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

    /// Whether all that was asked for is done.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::None) && self.pending.is_empty() && self.request.is_none()
    }

    fn learning_rate(&self) -> f32 {
        let TempLoraOptions { learning_rate, warmup_chunks, warmup_start, .. } = self.options;
        let warm = (self.report.index + warmup_start) as f32 / warmup_chunks.max(1) as f32;
        learning_rate * if warmup_chunks == 0 { 1.0 } else { warm.min(1.0) }
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
    pub fn begin_temp_lora(&mut self, options: TempLoraOptions) -> Result<TempLora> {
        options.check(self.model.context())?;
        if self.adapters.find(&options.name).is_ok() {
            return Err(Error::argument(format!("adapter `{}` is there already", options.name)));
        }
        if let Some(other) = self.trained_adapter() {
            return Err(Error::argument(format!("adapter `{other}` is being trained, end that first")));
        }
        self.check_trains_through(&options.beside)?;
        match &options.warm_start {
            Some(from) => self.copy_adapter(from, &options.name)?,
            None => {
                let TempLoraOptions { rank, alpha, target_modules, seed, .. } = options.clone();
                self.new_lora(&options.name, &NewLora { rank, alpha, target_modules, seed })?;
            }
        }
        if let Err(e) = self.begin_training(&options.name, options.dropout > 0.0) {
            self.delete_adapter(&options.name)?;
            return Err(e);
        }
        let optimizer = Optimizer { dropout: options.dropout, seed: options.seed, ..Optimizer::default() };
        Ok(TempLora {
            options,
            optimizer,
            context: Vec::new(),
            pending: VecDeque::new(),
            evaluates: false,
            request: None,
            left: 0,
            chunk: Vec::new(),
            drawn: false,
            report: ChunkReport::default(),
            mixture: Mixture::default(),
            work: Work::None,
            snapshot: None,
            chunks_since_reset: 0,
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
    /// there, and each chunk is learned once it is drawn. `max_tokens` counts them all.
    /// [`temp_next`](Self::temp_next) does it.
    ///
    /// Errors with `Argument` for options out of range, no token to begin with, or while other work
    /// is left.
    pub fn temp_generate(&mut self, temp: &mut TempLora, request: Request) -> Result<()> {
        if !temp.is_idle() {
            return Err(Error::argument("the temporary adapter has work left"));
        }
        self.check_ids(&request.prompt)?;
        if temp.context.is_empty() && request.prompt.is_empty() {
            return Err(Error::argument("prompt: no tokens"));
        }
        temp.left = request.max_tokens.unwrap_or(usize::MAX);
        temp.context.extend(&request.prompt);
        keep_newest(&mut temp.context, temp.options.context_tokens.max(1));
        let adapter = Some(temp.choice());
        temp.request = Some(Request { adapter, overflow: Overflow::Slide, ..request });
        temp.chunks_since_reset = 0;
        Ok(())
    }

    /// Moves the work on by one run or up to `slices` slices of training.
    ///
    /// Errors with `Device`, and as generation does. The adapter is then as the last step that
    /// ended left it, and [`temp_cancel`](Self::temp_cancel) makes it usable again.
    pub async fn temp_next(&mut self, temp: &mut TempLora, slices: usize) -> Result<TempEvent> {
        match std::mem::replace(&mut temp.work, Work::None) {
            Work::None if temp.request.is_some() => self.temp_draw(temp),
            Work::None => self.temp_take(temp),
            Work::ScoreBase(mut scoring, after) => {
                let result = self.next_scores(&mut scoring).await;
                if result.is_ok() && !scoring.is_finished() {
                    let (done, all) = scoring.progress();
                    temp.work = Work::ScoreBase(scoring, after);
                    return Ok(TempEvent::Progress("score", done, 2 * all));
                }
                let base = self.end_scoring(scoring);
                let (tokens, first) = temp.window();
                let next = result.and_then(|()| self.begin_scoring(&tokens, first, Some(&temp.choice())));
                let (scoring, after) = self.or_end(next, after)?;
                let (_, all) = scoring.progress();
                temp.work = Work::ScoreAdapted(scoring, base, after);
                Ok(TempEvent::Progress("score", all, 2 * all))
            }
            Work::ScoreAdapted(mut scoring, base, after) => {
                let result = self.next_scores(&mut scoring).await;
                let (done, all) = scoring.progress();
                if result.is_ok() && !scoring.is_finished() {
                    temp.work = Work::ScoreAdapted(scoring, base, after);
                } else {
                    let adapted = self.end_scoring(scoring);
                    let scored = result.and_then(|()| self.temp_scored(temp, &base, &adapted));
                    let ((), after) = self.or_end(scored, after)?;
                    self.temp_train(temp, after)?;
                }
                Ok(TempEvent::Progress("score", all + done, 2 * all))
            }
            Work::Generate(mut generation) => match self.next(&mut generation).await {
                Ok(deltas) => self.temp_drawn(temp, generation, deltas),
                Err(e) => {
                    self.end(*generation);
                    Err(e)
                }
            },
            Work::Train(mut step, after) => {
                let result = self.next_slices(&mut step, slices).await;
                let (done, all) = step.progress();
                if result.is_ok() && !step.is_finished() {
                    temp.work = Work::Train(step, after);
                    return Ok(TempEvent::Progress("train", done, all));
                }
                let loss = step.loss();
                self.end_step(*step);
                let ((), after) = self.or_end(result, after)?;
                temp.report.train_losses.push(loss);
                if temp.report.train_losses.len() < temp.options.epochs {
                    self.temp_train(temp, after)?;
                    return Ok(TempEvent::Progress("train", done, all));
                }
                Ok(self.temp_learned(temp, after))
            }
        }
    }

    /// Drops what is under way and what is left to do; the adapter stays as the last step that
    /// ended left it. A given text stays as far as it was learned, a generated one whole: it has been
    /// read, and what is generated next goes on from its end.
    pub fn temp_cancel(&mut self, temp: &mut TempLora) {
        match std::mem::replace(&mut temp.work, Work::None) {
            Work::None => {}
            Work::ScoreBase(scoring, after) | Work::ScoreAdapted(scoring, _, after) => {
                drop(self.end_scoring(scoring));
                after.into_iter().for_each(|generation| self.end(*generation));
            }
            Work::Generate(generation) => self.end(*generation),
            Work::Train(step, after) => {
                self.end_step(*step);
                after.into_iter().for_each(|generation| self.end(*generation));
            }
        }
        temp.pending.clear();
        if temp.drawn {
            temp.context.append(&mut temp.chunk);
            keep_newest(&mut temp.context, temp.options.context_tokens.max(1));
        }
        temp.chunk.clear();
        temp.request = None;
        temp.report = ChunkReport { index: temp.report.index, ..ChunkReport::default() };
    }

    /// Ends a temporary adapter: it becomes an ordinary one called `keep`, or is gone and the base
    /// as if it had never been.
    ///
    /// Errors with `Argument` if the name is taken or empty: it is then still there.
    pub fn end_temp_lora(&mut self, temp: &mut TempLora, keep: Option<&str>) -> Result<()> {
        if let Some(name) = keep
            && (name.is_empty() || name != temp.options.name && self.adapters.find(name).is_ok())
        {
            return Err(Error::argument(format!("adapter `{name}`: the name is empty or taken")));
        }
        self.temp_cancel(temp);
        self.end_training()?;
        match keep {
            Some(name) => self.adapters.rename(&temp.options.name, name)?,
            None => self.delete_adapter(&temp.options.name)?,
        }
        Ok(())
    }

    /// Takes the next chunk of what is pending.
    fn temp_take(&mut self, temp: &mut TempLora) -> Result<TempEvent> {
        if temp.pending.is_empty() {
            return Ok(TempEvent::Idle);
        }
        let n = temp.pending.len().min(temp.options.chunk_tokens);
        temp.chunk = temp.pending.drain(..n).collect();
        temp.drawn = false;
        let (tokens, first) = temp.window();
        temp.report.tokens = n;
        temp.report.labels = tokens.len() - first.min(tokens.len());
        if temp.report.labels == 0 {
            // A text of one token: nothing to score, nothing to learn.
            return Ok(self.temp_learned(temp, None));
        }
        if temp.evaluates {
            self.temp_score(temp, None)?;
        } else {
            self.temp_train(temp, None)?;
        }
        Ok(TempEvent::Progress("score", 0, 1))
    }

    /// Begins to score the chunk.
    fn temp_score(&mut self, temp: &mut TempLora, after: After) -> Result<()> {
        let (tokens, first) = temp.window();
        let scoring = self.begin_scoring(&tokens, first, Some(&temp.options.beside));
        let (scoring, after) = self.or_end(scoring, after)?;
        temp.work = Work::ScoreBase(scoring, after);
        Ok(())
    }

    /// What succeeded, with the generation that goes on after it; on an error that is ended.
    fn or_end<T>(&mut self, result: Result<T>, after: After) -> Result<(T, After)> {
        match result {
            Ok(value) => Ok((value, after)),
            Err(e) => {
                after.into_iter().for_each(|generation| self.end(*generation));
                Err(e)
            }
        }
    }

    /// Notes a chunk's losses, and undoes the last lesson if it did harm.
    fn temp_scored(&mut self, temp: &mut TempLora, base: &[f64], adapted: &[f64]) -> Result<()> {
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let mixed: Vec<f64> = base.iter().zip(adapted).map(|(&b, &a)| temp.mixture.loss(b, a)).collect();
        let report = &mut temp.report;
        (report.base_loss, report.adapted_loss) = (Some(mean(base)), Some(mean(adapted)));
        report.mixed_loss = Some(mean(&mixed));
        if temp.options.roll_back
            && mean(adapted) > mean(base)
            && let Some(deltas) = temp.snapshot.take()
        {
            self.restore_trainee(deltas)?;
            report.rolled_back = true;
        }
        Ok(())
    }

    /// Begins the next step on the chunk.
    fn temp_train(&mut self, temp: &mut TempLora, after: After) -> Result<()> {
        let learning_rate = temp.learning_rate();
        temp.report.learning_rate = learning_rate;
        if temp.options.roll_back && temp.report.train_losses.is_empty() {
            temp.snapshot = Some(self.adapters.find(&temp.options.name)?.adapter.deltas.clone());
        }
        let (tokens, first) = temp.window();
        let window = Window { tokens, first, constant_context: temp.options.constant_context };
        let choice = temp.choice();
        let step = self.begin_step(vec![window], &choice, &mut temp.optimizer, learning_rate);
        let (step, after) = self.or_end(step, after)?;
        temp.work = Work::Train(Box::new(step), after);
        Ok(())
    }

    /// The chunk becomes context.
    fn temp_learned(&mut self, temp: &mut TempLora, after: After) -> TempEvent {
        temp.context.append(&mut temp.chunk);
        keep_newest(&mut temp.context, temp.options.context_tokens);
        let next = ChunkReport { index: temp.report.index + 1, ..ChunkReport::default() };
        let report = std::mem::replace(&mut temp.report, next);
        if let Some(generation) = after {
            temp.work = Work::Generate(generation);
        }
        TempEvent::Chunk(report)
    }

    /// Begins to draw the next chunk from the context.
    fn temp_draw(&mut self, temp: &mut TempLora) -> Result<TempEvent> {
        let request = temp.request.as_ref().expect("a text is asked for");
        if temp.left == 0 {
            temp.request = None;
            return Ok(TempEvent::Idle);
        }
        let max_tokens = match temp.options.kv {
            Kv::Recompute => temp.left.min(temp.options.chunk_tokens),
            Kv::Stale | Kv::ResetEvery(_) => temp.left,
        };
        // Another seed for each chunk that starts anew: the same would draw the same noise.
        let seed = request.seed.wrapping_add(temp.report.index as u32);
        let prompt = temp.context.clone();
        let request = Request { prompt, max_tokens: Some(max_tokens), seed, ..request.clone() };
        temp.work = Work::Generate(Box::new(self.start(&[request])?));
        Ok(TempEvent::Progress("generate", 0, temp.options.chunk_tokens))
    }

    /// Notes what was drawn, and learns it once it makes a chunk or the text has ended.
    fn temp_drawn(
        &mut self,
        temp: &mut TempLora,
        generation: Box<Generation>,
        deltas: Vec<Delta>,
    ) -> Result<TempEvent> {
        let Some(mut delta) = deltas.into_iter().next() else {
            temp.work = Work::Generate(generation);
            return Ok(TempEvent::Progress("generate", temp.chunk.len(), temp.options.chunk_tokens));
        };
        temp.chunk.extend(&delta.tokens);
        temp.drawn = true;
        temp.left = temp.left.saturating_sub(delta.tokens.len());
        let ended = generation.is_finished();
        let stopped = delta.finish == Some(super::Finish::Stop);
        if stopped || temp.left == 0 {
            temp.request = None;
        } else {
            // Only a chunk's end, not the text's.
            delta.finish = None;
        }
        if !ended && temp.chunk.len() < temp.options.chunk_tokens {
            temp.work = Work::Generate(generation);
            return Ok(TempEvent::Text(delta));
        }
        let (tokens, first) = temp.window();
        temp.report.tokens = temp.chunk.len();
        temp.report.labels = tokens.len() - first.min(tokens.len());
        temp.chunks_since_reset += 1;
        let reset = match temp.options.kv {
            Kv::ResetEvery(n) => temp.chunks_since_reset >= n,
            Kv::Recompute | Kv::Stale => false,
        };
        let generation = if ended || reset {
            self.end(*generation);
            temp.chunks_since_reset = 0;
            None
        } else {
            Some(generation)
        };
        // Longer than a chunk by what one block draws: the window takes its newest part.
        let most = self.model.context().min(temp.options.context_tokens + temp.options.chunk_tokens);
        let excess = tokens.len().saturating_sub(most).min(temp.context.len());
        temp.context.drain(..excess);
        if temp.report.labels == 0 || repetition(&tokens, first) > temp.options.max_repetition {
            temp.work = match generation {
                Some(generation) => Work::Generate(generation),
                None => Work::None,
            };
            temp.context.append(&mut temp.chunk);
            keep_newest(&mut temp.context, temp.options.context_tokens);
            temp.report = ChunkReport { index: temp.report.index + 1, ..ChunkReport::default() };
        } else if temp.options.score_generated {
            self.temp_score(temp, generation)?;
        } else {
            self.temp_train(temp, generation)?;
        }
        Ok(TempEvent::Text(delta))
    }
}

/// Share of the runs of four tokens that end in `tokens[first..]` and occurred before.
fn repetition(tokens: &[u32], first: usize) -> f32 {
    let mut seen = std::collections::HashSet::new();
    let (mut again, mut all) = (0, 0);
    for (i, run) in tokens.windows(4).enumerate() {
        let new = seen.insert(run);
        if i + 3 >= first {
            all += 1;
            again += usize::from(!new);
        }
    }
    again as f32 / (all as f32).max(1.0)
}

fn keep_newest(tokens: &mut Vec<u32>, most: usize) {
    tokens.drain(..tokens.len().saturating_sub(most));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_the_runs_that_came_before() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5, 6, 7, 8], 4), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 1, 2, 3, 4], 4), 0.25);
        assert_eq!(repetition(&[1; 20], 10), 1.0);
        assert_eq!(repetition(&[1, 2], 1), 0.0);
    }

    /// The published code's constants, which a preset must not drift from.
    #[test]
    fn the_paper_preset_is_the_papers() {
        let paper = TempLoraOptions::paper(4096);
        assert_eq!((paper.rank, paper.alpha, paper.dropout), (64, 64.0, 0.05));
        assert_eq!((paper.learning_rate, paper.warmup_chunks, paper.warmup_start), (5e-5, 2, 0));
        assert_eq!((paper.epochs, paper.chunk_tokens, paper.constant_context), (2, 1024, false));
        assert!(paper.target_modules.is_empty() && !paper.roll_back && paper.max_repetition == 1.0);
        let Optimizer { betas, eps, weight_decay, max_norm, .. } = Optimizer::default();
        assert_eq!((betas, eps, weight_decay, max_norm), ([0.9, 0.999], 1e-7, 0.0, 1.0));
    }
}
