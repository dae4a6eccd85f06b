//! Another device in the place of a lost one: what the host knows is written to it once more.
//!
//! Adapters, the choice of them, texts and what was learned from them are the host's, so no id and
//! no handle changes. What was computed, keys and values above all, is computed anew by whoever
//! needs it next: a generation, a scoring, a step of training.

use crate::engine::adapters::Adapters;
use crate::engine::load::loader::Loader;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::training::Trainer;
use crate::error::Result;

/// Makes every owner go on where it was on the device of `loader`.
///
/// Errors with `Mismatch` if it has another model, or a part of it is missing; with `Memory` or
/// `Device` if this device fails too.
pub(crate) async fn recover(
    runner: &mut Runner,
    adapters: &mut Adapters,
    texts: &mut Texts,
    trainer: &mut Trainer,
    loader: Loader,
) -> Result<()> {
    let Loader { model, backend, .. } = loader;
    runner.move_to(&model, backend).await?;
    texts.forget();
    adapters.write_all(runner);
    trainer.write_all(runner, adapters);
    adapters.merge_again(runner).await?;
    runner.make_ready()?;
    trainer.replay(runner, adapters).await
}
