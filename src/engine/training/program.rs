//! A training under way as one value: its dataset, and what to do next until every epoch is over.
//! Not the arithmetic of a step, nor the clock: who calls has one.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Blueprint, Model};
use crate::tokenizer::Tokenizer;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::owners::Owners;
use crate::engine::training::checkpoint::{Checkpoint, Head};
use crate::engine::training::dataset::{Asked, Dataset};
use crate::engine::training::memory::TrainingRoom;
use crate::engine::training::options::TrainOptions;
use crate::engine::training::order::shuffled;
use crate::engine::training::train::Step;
use crate::engine::training::windows::Window;

/// An adapter that is being taught a dataset. [`Engine::plan_training`](crate::engine::Engine::plan_training) makes one.
#[derive(Debug)]
pub struct Program {
    options: TrainOptions,
    dataset: Dataset,
    /// Steps done.
    done: usize,
    /// The order of an epoch's windows, and which epoch that is.
    order: Option<(usize, Vec<usize>)>,
    /// The step under way, its learning rate and the tokens it reads.
    step: Option<(Step, f64, usize)>,
    /// Whether the adapter is one that has learned nothing yet: it goes if it never does.
    is_unborn: bool,
    /// Whether it has begun and not ended.
    is_under_way: bool,
}

/// A step that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub(crate) step: usize,
    /// In all.
    pub(crate) steps: usize,
    /// From 1.
    pub(crate) epoch: usize,
    /// Mean over what was learned, nats, before the step.
    pub loss: f64,
    /// Its learning rate.
    pub(crate) learning_rate: f64,
    /// Tokens it read.
    pub(crate) tokens: usize,
    /// Whether it is time for a [checkpoint](crate::engine::Engine::training_checkpoint).
    pub(crate) is_checkpoint: bool,
}

/// What a call of [`Engine::next_of_training`](crate::engine::Engine::next_of_training) came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainEvent {
    /// A part of a step: work done of all.
    Progress(usize, usize),
    /// A step is done.
    Step(StepReport),
    /// All are.
    Done,
}

impl Program {
    /// Steps in all, of what has been given so far.
    pub fn steps(&self) -> usize {
        (self.options.epochs * self.per_epoch()).min(self.options.max_steps.unwrap_or(usize::MAX))
    }

    /// The adapter's.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// What is learned and in which order, as a text whose digest tells it from others.
    pub fn identity(&self) -> String {
        #[derive(serde::Serialize)]
        struct Piece<'a> {
            tokens: &'a [u32],
            first: usize,
        }
        let windows = self.dataset.windows.iter();
        let pieces = windows.map(|window| Piece { tokens: &window.tokens, first: window.first() });
        let TrainOptions { batch, epochs, seed, .. } = self.options;
        serde_json::to_string(&(Vec::from_iter(pieces), batch, epochs, seed)).expect("numbers are JSON")
    }

    fn per_epoch(&self) -> usize {
        self.dataset.windows.len().div_ceil(self.options.batch)
    }

    /// The windows of the next step.
    fn next_windows(&mut self) -> Vec<Window> {
        let (n, per_epoch) = (self.dataset.windows.len(), self.per_epoch());
        let (epoch, at) = (self.done / per_epoch, self.done % per_epoch * self.options.batch);
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, shuffled(n, self.options.seed.wrapping_add(epoch as u32))));
        }
        let (_, order) = self.order.as_ref().expect("it was just made");
        let chosen = &order[at..n.min(at + self.options.batch)];
        chosen.iter().map(|&i| self.dataset.windows[i].clone()).collect()
    }

    fn rate(&self) -> f64 {
        let TrainOptions { learning_rate, schedule, warmup_steps, .. } = self.options;
        learning_rate * schedule.share(self.done, warmup_steps, self.steps())
    }
}

impl Program {
    pub(crate) fn plan(context: usize, options: TrainOptions) -> Result<Self> {
        options.check(context)?;
        Ok(Self {
            dataset: Dataset::new(options.window(context), options.completion_only),
            options,
            done: 0,
            order: None,
            step: None,
            is_unborn: false,
            is_under_way: false,
        })
    }

    pub(crate) fn add(
        &mut self,
        tokenizer: &Tokenizer,
        config: &Blueprint,
        item: &Value,
    ) -> Result<Vec<Asked>> {
        self.dataset.add(tokenizer, config, item)
    }

    pub(crate) fn answer(&mut self, tokens: Vec<Vec<u32>>) -> Result<()> {
        self.dataset.answer(tokens)
    }

    pub(crate) async fn begin(&mut self, owners: &mut Owners<'_>, saved: Option<Saved<'_>>) -> Result<()> {
        if self.dataset.windows.is_empty() {
            return Err(Error::argument("dataset: no text of at least two tokens"));
        }
        let saved = saved.map(|Saved { key, of, file }| {
            let saved = Checkpoint::parse(key, file)?;
            saved.check(key, of, self.steps(), &self.options.kept())?;
            Ok::<_, Error>(saved)
        });
        let saved = saved.transpose()?;
        let Owners { runner, adapters, .. } = owners;
        let name = &self.options.name;
        let is_there = adapters.find(name).is_ok();
        // Before another adapter takes room in the bank: what is learned now may not lie on the host.
        adapters.check_none_trained()?;
        match &saved {
            Some(Checkpoint { head, weights }) => {
                adapters.load(runner, name, head.config.as_bytes(), weights).await?;
            }
            None if is_there && !self.options.resume => {
                return Err(Error::argument(format!(
                    "adapter `{name}` is loaded already, expected `resume: true` or another name"
                )));
            }
            None if is_there => self.check_resumed(runner.model(), adapters)?,
            None => drop(adapters.create(runner, name, &self.options.lora()).await?),
        }
        if let Err(e) = self.begin_training(owners).await {
            if !is_there {
                owners.adapters.delete(owners.runner, name)?;
            }
            return Err(e);
        }
        self.done = saved.as_ref().map_or(0, |saved| saved.head.step);
        self.is_unborn = !is_there && saved.is_none();
        self.is_under_way = true;
        Ok(())
    }

    async fn begin_training(&self, owners: &mut Owners<'_>) -> Result<()> {
        let Owners { runner, adapters, trainer, .. } = owners;
        let TrainOptions { name, memory_limit, .. } = &self.options;
        let window = self.options.window(runner.model().context());
        let room = TrainingRoom { window, memory_limit: *memory_limit };
        trainer.begin(runner, adapters, name, self.options.optimizer(), room).await?;
        if let Err(e) = runner.check_kernels().await {
            trainer.end(runner, adapters).await?;
            return Err(e);
        }
        Ok(())
    }

    /// Errors with `Argument` if the adapter there is has another shape than is asked for.
    fn check_resumed(&self, model: &Model, adapters: &Adapters) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Shape {
            r: usize,
            lora_alpha: f64,
        }
        let TrainOptions { name, rank, alpha, target_modules, .. } = &self.options;
        let modules = &adapters.find(name)?.info.modules;
        let Shape { r, lora_alpha } = serde_json::from_slice(&adapters.config(model, name)?)
            .map_err(|e| Error::format(format!("adapter `{name}`: {e}")))?;
        let other = |option: &str, its: String, here: String| {
            Err(Error::argument(format!(
                "adapter `{name}` has {option} {its}, expected no {option} or the same with `resume: true`, got {here}"
            )))
        };
        if let Some(rank) = rank.filter(|rank| *rank != r) {
            return other("rank", r.to_string(), rank.to_string());
        }
        if let Some(alpha) = alpha.filter(|alpha| *alpha != lora_alpha) {
            return other("alpha", lora_alpha.to_string(), alpha.to_string());
        }
        let fits = |module: &str, target: &str| {
            module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(targets) = target_modules {
            let all = modules.iter().all(|module| targets.iter().any(|target| fits(module, target)))
                && targets.iter().all(|target| modules.iter().any(|module| fits(module, target)));
            if !all {
                return other("targetModules", format!("{modules:?}"), format!("{targets:?}"));
            }
        }
        Ok(())
    }

    pub(crate) async fn next(&mut self, owners: &mut Owners<'_>, rows: usize) -> Result<TrainEvent> {
        if !self.is_under_way || self.done >= self.steps() {
            return Ok(TrainEvent::Done);
        }
        let Owners { runner, adapters, texts, trainer, .. } = owners;
        let (mut step, learning_rate, tokens) = match self.step.take() {
            Some(under_way) => under_way,
            None => {
                let (windows, rate) = (self.next_windows(), self.rate());
                let tokens = windows.iter().map(|window| window.tokens.len()).sum();
                let choice = self.options.choice();
                (trainer.begin_step(runner, adapters, windows, &choice, rate as f32)?, rate, tokens)
            }
        };
        let result = trainer.next_slices(runner, adapters, texts, &mut step, rows).await;
        if result.is_err() || !step.is_finished() {
            let (done, all) = step.progress();
            self.step = Some((step, learning_rate, tokens));
            return result.map(|()| TrainEvent::Progress(done, all));
        }
        let loss = step.loss();
        trainer.end_step(runner, adapters, texts, step);
        let epoch = self.done / self.per_epoch() + 1;
        (self.done, self.is_unborn) = (self.done + 1, false);
        let (step, steps) = (self.done, self.steps());
        let is_checkpoint =
            self.options.checkpoint_every.is_some_and(|n| step < steps && step.is_multiple_of(n));
        Ok(TrainEvent::Step(StepReport { step, steps, epoch, loss, learning_rate, tokens, is_checkpoint }))
    }

    /// A checkpoint's file, of the adapter as it is exported.
    pub(crate) fn checkpoint(&self, of: &str, files: AdapterFiles) -> Result<Vec<u8>> {
        let (of, config) = (of.to_owned(), String::new());
        let head = Head { of, step: self.done, steps: self.steps(), options: self.options.kept(), config };
        head.file(files)
    }

    pub(crate) async fn end(&mut self, owners: &mut Owners<'_>) -> Result<()> {
        let Owners { runner, adapters, texts, trainer, .. } = owners;
        if let Some((step, ..)) = self.step.take() {
            trainer.end_step(runner, adapters, texts, step);
        }
        if !self.is_under_way {
            return Ok(());
        }
        trainer.end(runner, adapters).await?;
        self.is_under_way = false;
        if self.is_unborn { adapters.delete(runner, &self.options.name) } else { Ok(()) }
    }
}

/// A checkpoint to go on from.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// What it is known by, for messages.
    pub(crate) key: &'a str,
    /// A digest of the training's [identity](Program::identity).
    pub(crate) of: &'a str,
    /// As [`Engine::training_checkpoint`](crate::engine::Engine::training_checkpoint) made it.
    pub(crate) file: &'a [u8],
}
