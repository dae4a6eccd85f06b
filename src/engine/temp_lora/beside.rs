//! A chunk that is learned while the next one is written, in slices between its tokens: the text never waits for a
//! whole lesson, and is drawn by an adapter that is a chunk behind.

use crate::error::Result;

use super::{Chunk, TempEvent, TempLora, Work, keep_newest};
use crate::engine::owners::Owners;
use crate::engine::text::sequence::Generation;
use crate::engine::training::train::Step;

/// A chunk on its way to being learned. Its window has become the context.
#[derive(Debug)]
pub(super) struct Lesson {
    chunk: Chunk,
    /// None where nothing is to be learned.
    step: Option<Box<Step>>,
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
        let step = if chunk.is_taught(&self.options) {
            Some(Box::new(self.step_on(owners, &mut chunk)?))
        } else {
            None
        };
        self.context = chunk.window.clone();
        keep_newest(&mut self.context, self.options.context_tokens);
        self.lesson = Some(Lesson { chunk, step });
        self.work = goes_on.map_or(Work::None, |generation| Work::Draw(generation, Vec::new()));
        Ok(())
    }

    /// Whether the lesson comes before the next token: it is further from its end than the text from the chunk's, or
    /// the text has come to its own.
    pub(super) fn is_lesson_due(&self) -> bool {
        let Some(Lesson { chunk, step: Some(step) }) = &self.lesson else { return self.lesson.is_some() };
        let drawn = match &self.work {
            Work::Draw(_, drawn) => drawn.len(),
            Work::None if self.asked.is_some() => return false,
            _ => return true,
        };
        let (done, all) = step.progress();
        let steps = (chunk.report.train_losses.len() + chunk.replayed) as f64 + done as f64 / all as f64;
        let written = (drawn + 1) as f64 / self.options.chunk_tokens as f64;
        steps / (self.options.epochs as f64) < written
    }

    /// Moves the lesson on by as much as `rows` rows of a layer take.
    ///
    /// Errors with `Device`: the lesson is dropped, but where the device was lost.
    pub(super) async fn next_of_lesson(&mut self, owners: &mut Owners<'_>, rows: usize) -> Result<TempEvent> {
        let Lesson { mut chunk, step } = self.lesson.take().expect("a lesson is due");
        let Some(mut step) = step else { return Ok(self.lesson_over(chunk)) };
        let Owners { runner, adapters, texts, trainer, .. } = owners;
        if let Err(e) = trainer.next_slices(runner, adapters, texts, &mut step, rows).await {
            if owners.runner.backend().check().is_err() {
                self.lesson = Some(Lesson { chunk, step: Some(step) });
            } else {
                owners.end_step(*step);
            }
            return Err(e);
        }
        let (done, all) = step.progress();
        if step.is_finished() {
            if !self.step_ended(owners, &mut chunk, *step) {
                return Ok(self.lesson_over(chunk));
            }
            step = Box::new(self.step_on(owners, &mut chunk)?);
        }
        self.lesson = Some(Lesson { chunk, step: Some(step) });
        Ok(TempEvent::Progress("train", done, all))
    }

    fn lesson_over(&mut self, chunk: Chunk) -> TempEvent {
        self.chunks += 1;
        TempEvent::Chunk(chunk.report)
    }

    /// Ends the lesson; the adapter stays as the last step that ended left it.
    pub(super) fn drop_lesson(&mut self, owners: &mut Owners<'_>) {
        if let Some(Lesson { step: Some(step), .. }) = self.lesson.take() {
            owners.end_step(*step);
        }
    }
}
