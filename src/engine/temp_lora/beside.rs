//! A chunk that is learned while the next one is written, in slices between its tokens: the text never waits for a
//! whole lesson, and is drawn by an adapter that is a chunk behind.

use crate::error::Result;

use super::{Chunk, TempEvent, TempLora, Work};
use crate::engine::owners::Owners;
use crate::engine::text::score::Scoring;
use crate::engine::text::sequence::Generation;
use crate::engine::training::train::Step;

/// A chunk on its way to being learned. Its window has become the context.
#[derive(Debug)]
pub(super) struct Lesson {
    chunk: Chunk,
    part: Part,
    /// Parts that came or come before its steps.
    asks: usize,
}

/// What of a lesson is under way.
#[derive(Debug)]
enum Part {
    /// Nothing is to be learned.
    None,
    /// The base is asked what it would have written.
    DrawBase(Scoring),
    Train(Box<Step>),
}

impl TempLora {
    /// How many chunks have been written or given.
    pub(super) fn chunks_begun(&self) -> usize {
        self.chunks + usize::from(self.lesson.is_some())
    }

    /// Begins to learn a chunk that was drawn, and goes on with the generation, if that does.
    pub(super) fn learn_beside(
        &mut self,
        owners: &mut Owners<'_>,
        mut chunk: Chunk,
        goes_on: Option<Box<Generation>>,
    ) -> Result<()> {
        let asks = usize::from(chunk.asks_base(&self.options));
        let part = if !chunk.is_taught(&self.options) {
            Part::None
        } else if asks > 0 {
            Part::DrawBase(owners.begin_drawing(&chunk, &self.options.beside)?)
        } else {
            Part::Train(Box::new(self.step_on(owners, &mut chunk)?))
        };
        self.context = chunk.window.clone();
        self.shorten_context(self.options.context_tokens);
        self.lesson = Some(Lesson { chunk, part, asks });
        self.work = goes_on.map_or(Work::None, |generation| Work::Draw(generation, Vec::new()));
        Ok(())
    }

    /// Whether the lesson comes before the next token: it is further from its end than the text from the chunk's, or
    /// the text has come to its own.
    pub(super) fn is_lesson_due(&self) -> bool {
        let Some(Lesson { chunk, part, asks }) = &self.lesson else { return false };
        let (done, all) = match part {
            Part::None => return true,
            Part::DrawBase(drawing) => drawing.progress(),
            Part::Train(step) => step.progress(),
        };
        let drawn = match &self.work {
            Work::Draw(_, drawn) => drawn.len(),
            Work::None if self.asked.is_some() => return false,
            _ => return true,
        };
        // Asking the base counts as a step.
        let asked = asks * usize::from(matches!(part, Part::Train(_)));
        let steps = asked + chunk.report.train_losses.len() + chunk.replayed;
        let written = (drawn + 1) as f64 / self.options.chunk_tokens as f64;
        (steps as f64 + done as f64 / all as f64) / ((asks + self.options.epochs) as f64) < written
    }

    /// Moves the lesson on by as much as `rows` rows of a layer take.
    ///
    /// Errors with `Device`: the lesson is dropped, but where the device was lost.
    pub(super) async fn next_of_lesson(&mut self, owners: &mut Owners<'_>, rows: usize) -> Result<TempEvent> {
        let Lesson { mut chunk, mut part, asks } = self.lesson.take().expect("a lesson is due");
        let Owners { runner, adapters, texts, trainer, .. } = owners;
        let moved = match &mut part {
            Part::None => Ok(()),
            Part::DrawBase(drawing) => drawing.next(runner, adapters).await,
            Part::Train(step) => trainer.next_slices(runner, adapters, texts, step, rows).await,
        };
        if let Err(e) = moved {
            self.lesson = Some(Lesson { chunk, part, asks });
            if owners.runner.backend().check().is_ok() {
                self.drop_lesson(owners);
            }
            return Err(e);
        }
        let event = match part {
            Part::None => return Ok(self.lesson_over(chunk)),
            Part::DrawBase(drawing) => {
                let (done, all) = drawing.progress();
                part = if drawing.is_finished() {
                    chunk.of_base = owners.end_drawing(drawing);
                    Part::Train(Box::new(self.step_on(owners, &mut chunk)?))
                } else {
                    Part::DrawBase(drawing)
                };
                TempEvent::Progress("score", done, all)
            }
            Part::Train(step) => {
                let (done, all) = step.progress();
                part = if !step.is_finished() {
                    Part::Train(step)
                } else if self.step_ended(owners, &mut chunk, *step) {
                    Part::Train(Box::new(self.step_on(owners, &mut chunk)?))
                } else {
                    return Ok(self.lesson_over(chunk));
                };
                TempEvent::Progress("train", done, all)
            }
        };
        self.lesson = Some(Lesson { chunk, part, asks });
        Ok(event)
    }

    fn lesson_over(&mut self, chunk: Chunk) -> TempEvent {
        self.chunks += 1;
        TempEvent::Chunk(chunk.report)
    }

    /// Ends the lesson; the adapter stays as the last step that ended left it.
    pub(super) fn drop_lesson(&mut self, owners: &mut Owners<'_>) {
        match self.lesson.take().map(|lesson| lesson.part) {
            None | Some(Part::None) => {}
            Some(Part::DrawBase(drawing)) => drop(owners.end_drawing(drawing)),
            Some(Part::Train(step)) => owners.end_step(*step),
        }
    }
}
