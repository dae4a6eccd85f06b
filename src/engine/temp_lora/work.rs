//! The pieces of a chunk's work, in their order: taken or drawn, scored, learned.

use crate::error::Result;

use super::{After, ChunkReport, Kv, TempEvent, TempLora, TempLoraOptions, Work, keep_newest};
use crate::engine::Engine;
use crate::engine::text::generate::{Delta, Finish, Generation, Request};
use crate::engine::text::mixed::MixedLosses;
use crate::engine::training::windows::Window;

impl Engine {
    /// Takes the next chunk of what is pending.
    pub(super) fn temp_take(&mut self, temp: &mut TempLora) -> Result<TempEvent> {
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
        if temp.evaluates || temp.options.roll_back {
            self.temp_score(temp, None)?;
        } else {
            self.temp_lesson(temp, None)?;
        }
        Ok(TempEvent::Progress("score", 0, 1))
    }

    /// Begins to score the chunk.
    pub(super) fn temp_score(&mut self, temp: &mut TempLora, after: After) -> Result<()> {
        let (tokens, first) = temp.window();
        let scoring = self.begin_scoring(&tokens, first, Some(&temp.options.beside));
        let (scoring, after) = self.or_end(scoring, after)?;
        temp.work = Work::ScoreBase(scoring, after);
        Ok(())
    }

    /// What succeeded, with the generation that goes on after it; on an error that is ended.
    pub(super) fn or_end<T>(&mut self, result: Result<T>, after: After) -> Result<(T, After)> {
        match result {
            Ok(value) => Ok((value, after)),
            Err(e) => {
                after.into_iter().for_each(|generation| self.end(*generation));
                Err(e)
            }
        }
    }

    /// Notes a chunk's losses, and undoes the last lesson if it did harm.
    pub(super) fn temp_scored(&mut self, temp: &mut TempLora, base: &[f64], adapted: &[f64]) -> Result<()> {
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let mixed: Vec<f64> = base.iter().zip(adapted).map(|(&b, &a)| temp.mixture.loss(b, a)).collect();
        self.temp_note(temp, [mean(base), mean(adapted), mean(&mixed)])
    }

    /// The same of their means: base, adapted, mixed.
    fn temp_note(&mut self, temp: &mut TempLora, means: [f64; 3]) -> Result<()> {
        let report = &mut temp.report;
        [report.base_loss, report.adapted_loss, report.mixed_loss] = means.map(Some);
        let [base, adapted, _] = means;
        if temp.options.roll_back
            && adapted > base
            && let Some((state, steps)) = temp.snapshot.take()
        {
            self.set_trainee_state(&state)?;
            temp.optimizer.steps = steps;
            report.rolled_back = true;
        }
        Ok(())
    }

    /// Begins the next step on the chunk.
    pub(super) fn temp_train(&mut self, temp: &mut TempLora, mut after: After) -> Result<()> {
        let learning_rate = temp.learning_rate();
        temp.report.learning_rate = learning_rate;
        // What a probe tries it judges itself.
        if temp.options.roll_back && temp.probe.is_over() && temp.report.train_losses.is_empty() {
            let state;
            (state, after) = self.or_end(self.trainee_state(), after)?;
            temp.snapshot = Some((state, temp.optimizer.steps));
        }
        let (tokens, first) = temp.window();
        let constant_context = temp.options.constant_context;
        let window = Window { constant_context, ..Window::new(tokens, first) };
        let choice = temp.choice();
        let step = self.begin_step(vec![window], &choice, &temp.optimizer, learning_rate);
        let (step, after) = self.or_end(step, after)?;
        temp.work = Work::Train(Box::new(step), after);
        Ok(())
    }

    /// The chunk becomes context.
    pub(super) fn temp_learned(&mut self, temp: &mut TempLora, after: After) -> TempEvent {
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
    pub(super) fn temp_draw(&mut self, temp: &mut TempLora) -> Result<TempEvent> {
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
        let goes_on = max_tokens < temp.left;
        let request = Request { prompt, max_tokens: Some(max_tokens), seed, ..request.clone() };
        let mut generation = if temp.mixes {
            self.start_mixed(&request, &temp.options.beside, temp.mixture)?
        } else {
            self.start(&[request])?
        };
        generation.continue_text(temp.tail.take(), goes_on);
        temp.work = Work::Generate(Box::new(generation));
        Ok(TempEvent::Progress("generate", 0, temp.options.chunk_tokens))
    }

    /// Notes what was drawn, and learns it once it makes a chunk or the text has ended.
    pub(super) fn temp_drawn(
        &mut self,
        temp: &mut TempLora,
        mut generation: Box<Generation>,
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
        let stopped = delta.finish == Some(Finish::Stop);
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
        let mixed = generation.take_mixed();
        let mut generation = if ended || reset {
            temp.tail = temp.request.is_some().then(|| generation.tail().clone());
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
        if let Some((mixture, losses)) = mixed {
            temp.mixture = mixture;
            let MixedLosses { tokens, base, adapted, mixed } = losses;
            let means = [base, adapted, mixed].map(|sum| sum / tokens as f64);
            let noted = self.temp_note(temp, means);
            ((), generation) = self.or_end(noted, generation)?;
        }
        let TempLoraOptions { score_generated, roll_back, .. } = temp.options;
        if temp.report.labels == 0 {
            temp.work = Work::Learned(generation);
        } else if (score_generated || roll_back) && !temp.mixes {
            self.temp_score(temp, generation)?;
        } else {
            self.temp_lesson(temp, generation)?;
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
