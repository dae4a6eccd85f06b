//! The pieces of a chunk's work, in their order: taken or drawn, scored, learned.
//! Not the order itself, which is `TempLora::next`'s.

use crate::error::Result;

use super::{Chunk, Kv, TempEvent, TempLora, TempLoraOptions};
use crate::engine::owners::Owners;
use crate::engine::text::request::{Delta, Finish, Request};
use crate::engine::text::score::Scoring;
use crate::engine::text::sequence::{Generation, MixedTokens};
use crate::engine::training::train::Step;
use crate::engine::training::windows::Window;

/// What is under way. A chunk goes from one piece of work to the next with all that is known of it.
#[derive(Debug)]
pub(super) enum Work {
    None,
    /// With what has been drawn of the chunk.
    Draw(Box<Generation>, Vec<u32>),
    ScoreBase(Chunk, Scoring),
    /// With the base's losses.
    ScoreAdapted(Chunk, Scoring, Vec<f64>),
    /// As the base would have it.
    DrawBase(Chunk, Scoring),
    Train(Chunk, Box<Step>),
    /// All there was to learn, if anything.
    Learned(Chunk),
}

impl Work {
    /// As [`TempEvent::Progress`] names it.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Draw(..) => "generate",
            Self::ScoreBase(..) | Self::ScoreAdapted(..) | Self::DrawBase(..) => "score",
            Self::Train(..) | Self::Learned(_) | Self::None => "train",
        }
    }
}

/// What of a piece of work is the device's, and the only part that can meet its loss. Returns what
/// was drawn.
pub(super) async fn compute(owners: &mut Owners<'_>, work: &mut Work, rows: usize) -> Result<Vec<Delta>> {
    let Owners { runner, adapters, texts, trainer, tokenizer } = owners;
    match work {
        Work::None | Work::Learned(_) => {}
        Work::ScoreBase(_, scoring) | Work::ScoreAdapted(_, scoring, _) | Work::DrawBase(_, scoring) => {
            scoring.next(runner, adapters).await?;
        }
        Work::Draw(generation, _) => return generation.next(runner, adapters, tokenizer).await,
        Work::Train(_, step) => trainer.next_slices(runner, adapters, texts, step, rows).await?,
    }
    Ok(Vec::new())
}

impl TempLora {
    /// Takes the next chunk of what is pending.
    pub(super) fn take_chunk(&mut self, owners: &mut Owners<'_>) -> Result<TempEvent> {
        if self.pending.is_empty() {
            return Ok(TempEvent::Idle);
        }
        let n = self.pending.len().min(self.options.chunk_tokens);
        let own: Vec<u32> = self.pending.drain(..n).collect();
        let chunk = Chunk::new(self.chunks, &self.context, &own, false);
        if chunk.report.labels == 0 {
            // A text of one token: nothing to score, nothing to learn.
            return Ok(self.chunk_learned(chunk));
        }
        if self.evaluates || self.options.roll_back {
            self.score_chunk(owners, chunk)?;
        } else {
            self.begin_lesson(owners, chunk)?;
        }
        Ok(TempEvent::Progress(self.work.verb(), 0, 1))
    }

    /// Begins to score a chunk.
    fn score_chunk(&mut self, owners: &mut Owners<'_>, chunk: Chunk) -> Result<()> {
        let scoring = owners.begin_scoring(&chunk.window, chunk.first, &self.options.beside);
        let (scoring, chunk) = self.or_drop(owners, scoring, chunk)?;
        self.work = Work::ScoreBase(chunk, scoring);
        Ok(())
    }

    /// Notes a chunk's losses, and begins to learn it.
    pub(super) fn chunk_scored(
        &mut self,
        owners: &mut Owners<'_>,
        chunk: Chunk,
        base: &[f64],
        adapted: &[f64],
    ) -> Result<()> {
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let mixed: Vec<f64> = base.iter().zip(adapted).map(|(&b, &a)| self.mixture.loss(b, a)).collect();
        let chunk = self.note_losses(owners, chunk, [mean(base), mean(adapted), mean(&mixed)])?;
        self.begin_lesson(owners, chunk)
    }

    /// Notes a chunk's mean losses, base, adapted and mixed, and undoes the last lesson if it did harm.
    fn note_losses(&mut self, owners: &mut Owners<'_>, mut chunk: Chunk, means: [f64; 3]) -> Result<Chunk> {
        chunk.note(means);
        let [base, adapted, _] = means;
        if self.options.roll_back
            && adapted > base
            && let Some(state) = self.snapshot.take()
        {
            let undone = owners.set_state(&state);
            ((), chunk) = self.or_drop(owners, undone, chunk)?;
            chunk.report.rolled_back = true;
        }
        Ok(chunk)
    }

    /// Begins to learn a chunk, if it is worth it.
    pub(super) fn begin_lesson(&mut self, owners: &mut Owners<'_>, chunk: Chunk) -> Result<()> {
        if !chunk.is_taught(&self.options) {
            self.work = Work::Learned(chunk);
            return Ok(());
        }
        if chunk.asks_base(&self.options) {
            let drawing = owners.begin_drawing(&chunk, &self.options.beside);
            let (drawing, chunk) = self.or_drop(owners, drawing, chunk)?;
            self.work = Work::DrawBase(chunk, drawing);
            return Ok(());
        }
        self.train_chunk(owners, chunk)
    }

    /// The next step on a chunk, whose report has its rate, or on a given one in its place.
    pub(super) fn step_on(&self, owners: &mut Owners<'_>, chunk: &mut Chunk) -> Result<Step> {
        chunk.report.learning_rate = self.learning_rate(chunk);
        let (window, rate) = if chunk.report.train_losses.len() < self.own_steps(chunk) {
            (chunk.lesson(self.options.generated_kl), chunk.report.learning_rate)
        } else {
            let (tokens, first) = self.given.at(chunk.report.index + chunk.replayed);
            (Window::new(tokens, first), self.options.learning_rate)
        };
        let constant_context = self.options.constant_context;
        let window = Window { constant_context, ..window };
        owners.begin_step(window, &self.options.taught(), rate)
    }

    /// How many of a chunk's steps are on itself, at least one; the others are on given ones.
    fn own_steps(&self, chunk: &Chunk) -> usize {
        let TempLoraOptions { epochs, replay, .. } = self.options;
        let replays = chunk.drawn && !self.given.is_empty();
        if replays { epochs.saturating_sub(replay).max(1) } else { epochs }
    }

    /// Ends a step on a chunk. Returns whether another is to follow.
    pub(super) fn step_ended(&self, owners: &mut Owners<'_>, chunk: &mut Chunk, step: Step) -> bool {
        if chunk.report.train_losses.len() < self.own_steps(chunk) {
            chunk.report.train_losses.push(step.loss());
        } else {
            chunk.replayed += 1;
        }
        owners.end_step(step);
        chunk.report.train_losses.len() + chunk.replayed < self.options.epochs
    }

    /// Begins the next step on a chunk.
    pub(super) fn train_chunk(&mut self, owners: &mut Owners<'_>, mut chunk: Chunk) -> Result<()> {
        if self.options.roll_back && chunk.report.train_losses.is_empty() {
            let state;
            (state, chunk) = self.or_drop(owners, owners.state(), chunk)?;
            self.snapshot = Some(state);
        }
        let step = self.step_on(owners, &mut chunk);
        let (mut step, chunk) = self.or_drop(owners, step, chunk)?;
        // Its state is noted afterwards.
        step.is_kept = self.options.roll_back;
        self.work = Work::Train(chunk, Box::new(step));
        Ok(())
    }

    /// A step on a chunk is done: another follows, or the chunk is learned.
    pub(super) fn step_taken(
        &mut self,
        owners: &mut Owners<'_>,
        mut chunk: Chunk,
        step: Step,
    ) -> Result<Option<TempEvent>> {
        if self.step_ended(owners, &mut chunk, step) {
            self.train_chunk(owners, chunk)?;
            return Ok(None);
        }
        Ok(Some(self.chunk_learned(chunk)))
    }

    /// The chunk becomes context.
    pub(super) fn chunk_learned(&mut self, chunk: Chunk) -> TempEvent {
        if !chunk.drawn && self.options.replay > 0 {
            self.given.keep(&chunk);
        }
        self.context = chunk.window;
        self.shorten_context(self.options.context_tokens);
        self.chunks += 1;
        if let Some(generation) = chunk.after {
            self.work = Work::Draw(generation, Vec::new());
        }
        TempEvent::Chunk(chunk.report)
    }

    /// Begins to draw the next chunk from the context.
    pub(super) fn begin_drawing(&mut self, owners: &mut Owners<'_>) -> Result<TempEvent> {
        let begun = self.chunks_begun();
        let asked = self.asked.as_mut().expect("a text is asked for");
        if asked.left == 0 {
            self.asked = None;
            return Ok(TempEvent::Idle);
        }
        let max_tokens = match self.options.kv {
            Kv::Recompute => asked.left.min(self.options.chunk_tokens),
            Kv::Stale | Kv::ResetEvery(_) => asked.left,
        };
        // Another seed for each chunk that starts anew: the same would draw the same noise.
        let seed = asked.request.seed.wrapping_add(begun as u32);
        let prompt = self.context.clone();
        let request = Request { prompt, max_tokens: Some(max_tokens), seed, ..asked.request.clone() };
        let Owners { runner, adapters, texts, tokenizer, .. } = owners;
        let TempLoraOptions { beside, generated_kl, .. } = &self.options;
        let mut generation = if asked.mixes {
            let mut mixed =
                texts.start_mixed(runner, adapters, tokenizer, &request, (beside, self.mixture))?;
            if *generated_kl > 0.0 {
                mixed.ask_base(!seed); // other noise than the text's
            }
            mixed
        } else {
            texts.start(runner, adapters, tokenizer, &[request])?
        };
        generation.continue_text(asked.tail.take(), max_tokens < asked.left);
        generation.continue_chain(asked.chain.take());
        self.work = Work::Draw(Box::new(generation), Vec::new());
        Ok(TempEvent::Progress("generate", 0, self.options.chunk_tokens))
    }

    /// Notes what was drawn, and learns it once it makes a chunk or the text has ended.
    pub(super) fn text_drawn(
        &mut self,
        owners: &mut Owners<'_>,
        mut generation: Box<Generation>,
        mut drawn: Vec<u32>,
        deltas: Vec<Delta>,
    ) -> Result<TempEvent> {
        let Some(mut delta) = deltas.into_iter().next() else {
            let done = drawn.len();
            self.work = Work::Draw(generation, drawn);
            return Ok(TempEvent::Progress("generate", done, self.options.chunk_tokens));
        };
        drawn.extend(&delta.tokens);
        if self.lesson.is_some() {
            // A lesson goes on after each token.
            generation.draw_one();
        }
        let asked = self.asked.as_mut().expect("a text is asked for");
        asked.left = asked.left.saturating_sub(delta.tokens.len());
        let is_over = delta.finish == Some(Finish::Stop) || asked.left == 0;
        if !is_over {
            // Only a chunk's end, not the text's.
            delta.finish = None;
        }
        let has_ended = is_over || generation.is_finished();
        if !has_ended && drawn.len() < self.options.chunk_tokens {
            self.work = Work::Draw(generation, drawn);
            return Ok(TempEvent::Text(delta));
        }
        asked.chunks_since_reset += 1;
        let resets = match self.options.kv {
            Kv::ResetEvery(n) => asked.chunks_since_reset >= n,
            Kv::Recompute | Kv::Stale => false,
        };
        let (mixes, mixed) = (asked.mixes, generation.take_mixed());
        let after = if has_ended || resets {
            (asked.tail, asked.chunks_since_reset) = (Some(generation.tail().clone()), 0);
            asked.chain = generation.chain().cloned();
            owners.end(*generation);
            None
        } else {
            Some(generation)
        };
        if is_over {
            self.asked = None;
        }
        let TempLoraOptions { context_tokens, chunk_tokens, score_generated, roll_back, .. } = self.options;
        // Longer than a chunk by what one block draws: the window takes its newest part.
        let most = owners.runner.model().context().min(context_tokens + chunk_tokens);
        self.shorten_context(most.saturating_sub(drawn.len()));
        let mut chunk = Chunk { after, ..Chunk::new(self.chunks_begun(), &self.context, &drawn, true) };
        if let Some((mixture, tokens)) = mixed {
            self.mixture = mixture;
            let MixedTokens { count, base, adapted, mixed, of_base } = tokens;
            // One for each drawn token, and for the one that has ended the text.
            chunk.of_base = of_base.into_iter().take(drawn.len()).collect();
            chunk.of_base.drain(..chunk.of_base.len().saturating_sub(chunk.report.labels));
            chunk = self.note_losses(owners, chunk, [base, adapted, mixed].map(|sum| sum / count as f64))?;
        }
        if self.options.overlap && !is_over {
            let goes_on = chunk.after.take();
            self.learn_beside(owners, chunk, goes_on)?;
        } else if chunk.report.labels == 0 {
            self.work = Work::Learned(chunk);
        } else if (score_generated || roll_back) && !mixes {
            self.score_chunk(owners, chunk)?;
        } else {
            self.begin_lesson(owners, chunk)?;
        }
        Ok(TempEvent::Text(delta))
    }
}
