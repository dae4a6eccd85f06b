//! What a temporary adapter asks of an engine's owners.
//! Not who they are.

use super::Chunk;
use crate::engine::adapters::loaded::Choice;
use crate::engine::owners::Owners;
use crate::engine::text::score::Scoring;
use crate::engine::text::sequence::Generation;
use crate::engine::training::train::Step;
use crate::engine::training::trainee::TraineeState;
use crate::engine::training::windows::Window;
use crate::error::Result;

impl Owners<'_> {
    pub(super) fn begin_scoring(&mut self, ids: &[u32], first: usize, choice: &Choice) -> Result<Scoring> {
        self.texts.begin_scoring(self.runner, self.adapters, ids, first, Some(choice))
    }

    pub(super) fn end_scoring(&mut self, scoring: Scoring) -> Vec<f64> {
        self.texts.end_scoring(self.runner, self.adapters, scoring)
    }

    /// Begins to draw what `choice` would have put in the place of a chunk's labels.
    pub(super) fn begin_drawing(&mut self, chunk: &Chunk, choice: &Choice) -> Result<Scoring> {
        let (Chunk { window, first, .. }, seed) = (chunk, chunk.report.index as u32);
        self.texts.begin_drawing(self.runner, self.adapters, window, *first, choice, seed)
    }

    pub(super) fn end_drawing(&mut self, scoring: Scoring) -> Vec<u32> {
        self.texts.end_drawing(self.runner, self.adapters, scoring)
    }

    pub(super) fn end(&mut self, generation: Generation) {
        self.texts.end(self.runner, self.adapters, generation);
    }

    pub(super) fn state(&self) -> Result<TraineeState> {
        self.trainer.state(self.adapters)
    }

    pub(super) fn set_state(&mut self, state: &TraineeState) -> Result<()> {
        self.trainer.set_state(self.runner, self.adapters, state)
    }

    pub(super) fn begin_step(&mut self, window: Window, choice: &Choice, rate: f32) -> Result<Step> {
        self.trainer.begin_step(self.runner, self.adapters, vec![window], choice, rate)
    }

    pub(super) fn end_step(&mut self, step: Step) {
        self.trainer.end_step(self.runner, self.adapters, self.texts, step);
    }
}
