//! The owners that a temporary adapter works over, handed in together.
//! Not an engine: it lends what one has, for a call.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::score::Scoring;
use crate::engine::text::sequence::Generation;
use crate::engine::training::Trainer;
use crate::engine::training::trainee::TraineeState;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// An engine's owners, for as long as a call takes.
pub(crate) struct Owners<'a> {
    pub(crate) runner: &'a mut Runner,
    pub(crate) adapters: &'a mut Adapters,
    pub(crate) texts: &'a mut Texts,
    pub(crate) trainer: &'a mut Trainer,
    pub(crate) tokenizer: &'a Tokenizer,
}

impl Owners<'_> {
    pub(super) fn begin_scoring(&mut self, ids: &[u32], first: usize, choice: &Choice) -> Result<Scoring> {
        self.texts.begin_scoring(self.runner, self.adapters, ids, first, Some(choice))
    }

    pub(super) fn end_scoring(&mut self, scoring: Scoring) -> Vec<f64> {
        self.texts.end_scoring(self.runner, self.adapters, scoring)
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

    /// What succeeded, with the generation that goes on after it; on an error that is ended.
    pub(super) fn or_end<T>(
        &mut self,
        result: Result<T>,
        after: Option<Box<Generation>>,
    ) -> Result<(T, Option<Box<Generation>>)> {
        match result {
            Ok(value) => Ok((value, after)),
            Err(e) => {
                after.into_iter().for_each(|generation| self.end(*generation));
                Err(e)
            }
        }
    }
}
