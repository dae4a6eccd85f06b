//! The host's copy of what is trained: made where it is asked for, and every few steps for the sake of a
//! device that is lost. Not how numbers are read and written: that is `trainee`.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::training::Trainer;
use crate::engine::training::train::Step;
use crate::engine::training::windows::Window;
use crate::error::Result;

/// Steps from one copy to the next. A copy reads 12 bytes of each trained number, itself and its moments; a
/// step computes about 6 operations a token for each of the model's. With one number in a hundred trained,
/// 256 tokens, 2 TFLOPS and 1 GB/s back a copy takes 15 % of a step: in 16 it is under 1 %, and a device that
/// is lost has at most 15 steps to do again.
const STEPS: usize = 16;

/// Above this a step may make numbers that are none of a gradient that is one.
const SAFE_RATE: f32 = 1.0;

/// A step that is finished, as it is done again where the device that knew of it is lost.
#[derive(Debug)]
pub(super) struct Taken {
    windows: Vec<Window>,
    choice: Choice,
    learning_rate: f32,
}

impl Trainer {
    /// Makes the host's copy what the device has.
    ///
    /// Errors with `Device`, and if a number is none; the copy is as it was then.
    pub(crate) async fn copy(&mut self, runner: &mut Runner, adapters: &mut Adapters) -> Result<()> {
        if self.since.is_empty() { Ok(()) } else { self.read_back(runner, adapters).await }
    }

    /// Whatever was learned since the last copy is not needed any more.
    pub(crate) fn forget(&mut self, adapters: &mut Adapters) {
        self.since.clear();
        if let Ok(loaded) = adapters.trained_mut() {
            loaded.is_ahead = false;
        }
    }

    /// Whether a step's numbers are to be read back at once: it was asked for, it is the last before the next
    /// copy, or it could not be done again as it was, beside others that may go meanwhile or on merged weights.
    fn copies(&self, adapters: &Adapters, step: &Step) -> bool {
        let alone = step.choice.iter().filter(|(_, weight)| *weight != 0.0).count() == 1;
        step.is_kept
            || !is_safe(step)
            || !alone
            || !adapters.merged().is_empty()
            || self.since.len() + 1 >= STEPS
    }

    /// What is to be copied before a step's update, so that it can be undone.
    pub(super) async fn before_update(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        step: &Step,
    ) -> Result<()> {
        if is_safe(step) { Ok(()) } else { self.copy(runner, adapters).await }
    }

    /// Counts a step whose update has been submitted, and waits for it. The adapter is a new version then, so that
    /// nothing cached under the old one is used.
    ///
    /// Errors with `Device`, and if a number is none: the adapter is as the last step that ended left it.
    pub(super) async fn after_update(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        step: &Step,
    ) -> Result<()> {
        let copies = self.copies(adapters, step);
        let done = if copies { self.read_back(runner, adapters).await } else { runner.wait().await };
        if let Err(e) = done {
            // What cannot be written now, a lost device's successor gets, and then does what follows it.
            self.undo_step(runner, adapters)?;
            if runner.backend().check().is_ok() {
                self.steps -= self.since.len() as u32;
                self.forget(adapters);
            }
            return Err(e);
        }
        self.steps += 1;
        let loaded = adapters.trained_mut()?;
        loaded.is_ahead = !copies;
        if !copies {
            let deltas = std::mem::take(&mut loaded.adapter.deltas);
            loaded.learn(deltas);
            let Step { windows, choice, numbers, .. } = step;
            let (windows, choice) = (windows.clone(), choice.clone());
            self.since.push(Taken { windows, choice, learning_rate: numbers.learning_rate });
        }
        let name = loaded.info.name.clone();
        adapters.renew(&name)
    }

    /// Does again the steps that another device has taken with it, from the copy, which has been written.
    ///
    /// Errors with `Device`; it is to be called once more then.
    pub(crate) async fn replay(&mut self, runner: &mut Runner, adapters: &mut Adapters) -> Result<()> {
        let (since, steps) = (std::mem::take(&mut self.since), self.steps);
        self.steps -= since.len() as u32;
        // Nothing that a text has computed is on the new device: every slot is free.
        let mut texts = Texts::new(runner.model().slots());
        for Taken { windows, choice, learning_rate } in &since {
            let again =
                self.whole_step(runner, adapters, &mut texts, windows.clone(), choice, *learning_rate);
            if let Err(e) = again.await {
                (self.since, self.steps) = (since, steps);
                return Err(e);
            }
        }
        Ok(())
    }
}

fn is_safe(step: &Step) -> bool {
    step.numbers.learning_rate <= SAFE_RATE
}
