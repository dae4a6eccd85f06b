//! The pieces of a chunk's work, in their order: taken or drawn, scored, learned.

use crate::error::Result;

use super::owners::Owners;
use super::{After, ChunkReport, Kv, TempEvent, TempLora, TempLoraOptions, Work, keep_newest};
use crate::engine::text::request::{Delta, Finish, Request};
use crate::engine::text::sequence::{Generation, MixedLosses};
use crate::engine::training::train::Window;

impl TempLora {
    /// Takes the next chunk of what is pending.
    pub(super) fn take_chunk(&mut self, owners: &mut Owners<'_>) -> Result<TempEvent> {
        if self.pending.is_empty() {
            return Ok(TempEvent::Idle);
        }
        let n = self.pending.len().min(self.options.chunk_tokens);
        self.chunk = self.pending.drain(..n).collect();
        self.drawn = false;
        let (tokens, first) = self.window();
        self.report.tokens = n;
        self.report.labels = tokens.len() - first.min(tokens.len());
        if self.report.labels == 0 {
            // A text of one token: nothing to score, nothing to learn.
            return Ok(self.chunk_learned(None));
        }
        if self.evaluates || self.options.roll_back {
            self.score_chunk(owners, None)?;
        } else {
            self.begin_lesson(owners, None)?;
        }
        Ok(TempEvent::Progress("score", 0, 1))
    }

    /// Begins to score the chunk.
    pub(super) fn score_chunk(&mut self, owners: &mut Owners<'_>, after: After) -> Result<()> {
        let (tokens, first) = self.window();
        let scoring = owners.begin_scoring(&tokens, first, &self.options.beside);
        let (scoring, after) = owners.or_end(scoring, after)?;
        self.work = Work::ScoreBase(scoring, after);
        Ok(())
    }

    /// Notes a chunk's losses, and undoes the last lesson if it did harm.
    pub(super) fn note_scores(
        &mut self,
        owners: &mut Owners<'_>,
        base: &[f64],
        adapted: &[f64],
    ) -> Result<()> {
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let mixed: Vec<f64> = base.iter().zip(adapted).map(|(&b, &a)| self.mixture.loss(b, a)).collect();
        self.note_losses(owners, [mean(base), mean(adapted), mean(&mixed)])
    }

    /// The same of their means: base, adapted, mixed.
    fn note_losses(&mut self, owners: &mut Owners<'_>, means: [f64; 3]) -> Result<()> {
        let report = &mut self.report;
        [report.base_loss, report.adapted_loss, report.mixed_loss] = means.map(Some);
        let [base, adapted, _] = means;
        if self.options.roll_back
            && adapted > base
            && let Some(state) = self.snapshot.take()
        {
            owners.set_state(&state)?;
            report.rolled_back = true;
        }
        Ok(())
    }

    /// Begins the next step on the chunk.
    pub(super) fn train_chunk(&mut self, owners: &mut Owners<'_>, mut after: After) -> Result<()> {
        let learning_rate = self.learning_rate();
        self.report.learning_rate = learning_rate;
        // What a probe tries it judges itself.
        if self.options.roll_back && self.probe.is_over() && self.report.train_losses.is_empty() {
            let state;
            (state, after) = owners.or_end(owners.state(), after)?;
            self.snapshot = Some(state);
        }
        let (tokens, first) = self.window();
        let window = Window { tokens, first, constant_context: self.options.constant_context };
        let choice = self.choice();
        let Owners { runner, adapters, trainer, .. } = owners;
        let step = trainer.begin_step(runner, adapters, vec![window], &choice, learning_rate);
        let (step, after) = owners.or_end(step, after)?;
        self.work = Work::Train(Box::new(step), after);
        Ok(())
    }

    /// The chunk becomes context.
    pub(super) fn chunk_learned(&mut self, after: After) -> TempEvent {
        self.context.append(&mut self.chunk);
        keep_newest(&mut self.context, self.options.context_tokens);
        let next = ChunkReport { index: self.report.index + 1, ..ChunkReport::default() };
        let report = std::mem::replace(&mut self.report, next);
        if let Some(generation) = after {
            self.work = Work::Generate(generation);
        }
        TempEvent::Chunk(report)
    }

    /// Begins to draw the next chunk from the context.
    pub(super) fn draw_chunk(&mut self, owners: &mut Owners<'_>) -> Result<TempEvent> {
        let request = self.request.as_ref().expect("a text is asked for");
        if self.left == 0 {
            self.request = None;
            return Ok(TempEvent::Idle);
        }
        let max_tokens = match self.options.kv {
            Kv::Recompute => self.left.min(self.options.chunk_tokens),
            Kv::Stale | Kv::ResetEvery(_) => self.left,
        };
        // Another seed for each chunk that starts anew: the same would draw the same noise.
        let seed = request.seed.wrapping_add(self.report.index as u32);
        let prompt = self.context.clone();
        let goes_on = max_tokens < self.left;
        let request = Request { prompt, max_tokens: Some(max_tokens), seed, ..request.clone() };
        let Owners { runner, adapters, texts, tokenizer, .. } = owners;
        let mut generation = if self.mixes {
            texts.start_mixed(runner, adapters, tokenizer, &request, (&self.options.beside, self.mixture))?
        } else {
            texts.start(runner, adapters, tokenizer, &[request])?
        };
        generation.continue_text(self.tail.take(), goes_on);
        self.work = Work::Generate(Box::new(generation));
        Ok(TempEvent::Progress("generate", 0, self.options.chunk_tokens))
    }

    /// Notes what was drawn, and learns it once it makes a chunk or the text has ended.
    pub(super) fn text_drawn(
        &mut self,
        owners: &mut Owners<'_>,
        mut generation: Box<Generation>,
        deltas: Vec<Delta>,
    ) -> Result<TempEvent> {
        let Some(mut delta) = deltas.into_iter().next() else {
            self.work = Work::Generate(generation);
            return Ok(TempEvent::Progress("generate", self.chunk.len(), self.options.chunk_tokens));
        };
        self.chunk.extend(&delta.tokens);
        self.drawn = true;
        self.left = self.left.saturating_sub(delta.tokens.len());
        let ended = generation.is_finished();
        let stopped = delta.finish == Some(Finish::Stop);
        if stopped || self.left == 0 {
            self.request = None;
        } else {
            // Only a chunk's end, not the text's.
            delta.finish = None;
        }
        if !ended && self.chunk.len() < self.options.chunk_tokens {
            self.work = Work::Generate(generation);
            return Ok(TempEvent::Text(delta));
        }
        let (tokens, first) = self.window();
        self.report.tokens = self.chunk.len();
        self.report.labels = tokens.len() - first.min(tokens.len());
        self.chunks_since_reset += 1;
        let reset = match self.options.kv {
            Kv::ResetEvery(n) => self.chunks_since_reset >= n,
            Kv::Recompute | Kv::Stale => false,
        };
        let mixed = generation.take_mixed();
        let mut generation = if ended || reset {
            self.tail = self.request.is_some().then(|| generation.tail().clone());
            owners.end(*generation);
            self.chunks_since_reset = 0;
            None
        } else {
            Some(generation)
        };
        // Longer than a chunk by what one block draws: the window takes its newest part.
        let most =
            owners.runner.model().context().min(self.options.context_tokens + self.options.chunk_tokens);
        let excess = tokens.len().saturating_sub(most).min(self.context.len());
        self.context.drain(..excess);
        if let Some((mixture, losses)) = mixed {
            self.mixture = mixture;
            let MixedLosses { tokens, base, adapted, mixed } = losses;
            let means = [base, adapted, mixed].map(|sum| sum / tokens as f64);
            let noted = self.note_losses(owners, means);
            ((), generation) = owners.or_end(noted, generation)?;
        }
        let TempLoraOptions { score_generated, roll_back, .. } = self.options;
        if self.report.labels == 0 {
            self.work = Work::Learned(generation);
        } else if (score_generated || roll_back) && !self.mixes {
            self.score_chunk(owners, generation)?;
        } else {
            self.begin_lesson(owners, generation)?;
        }
        Ok(TempEvent::Text(delta))
    }
}

/// Whether too much of a chunk that was drawn is said again.
pub(super) fn is_repetitive(temp: &TempLora) -> bool {
    let (tokens, first) = temp.window();
    temp.drawn && repetition(&tokens, first) > temp.options.max_repetition
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

#[cfg(test)]
mod tests {
    use super::repetition;

    #[test]
    pub(super) fn repetition_counts_the_runs_that_came_before() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5, 6, 7, 8], 4), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 1, 2, 3, 4], 4), 0.25);
        assert_eq!(repetition(&[1; 20], 10), 1.0);
        assert_eq!(repetition(&[1, 2], 1), 0.0);
    }
}
