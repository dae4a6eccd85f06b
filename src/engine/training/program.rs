//! A training under way as one value: its dataset, and what to do next until every epoch is over.
//! Not the arithmetic of a step, nor the clock: who calls has one.

use serde_json::Value;

use crate::error::{Error, Result};

use crate::engine::Engine;
use crate::engine::training::checkpoint::{Checkpoint, Head};
use crate::engine::training::dataset::{Asked, Dataset};
use crate::engine::training::memory::TrainingRoom;
use crate::engine::training::options::TrainOptions;
use crate::engine::training::order::shuffled;
use crate::engine::training::train::{Optimizer, Step};
use crate::engine::training::windows::Window;

/// An adapter that is being taught a dataset. [`Engine::plan_training`] makes one.
#[derive(Debug)]
pub struct Program {
    options: TrainOptions,
    dataset: Dataset,
    optimizer: Optimizer,
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
    pub step: usize,
    /// In all.
    pub steps: usize,
    /// From 1.
    pub epoch: usize,
    /// Mean over what was learned, nats, before the step.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Tokens it read.
    pub tokens: usize,
    /// Whether it is time for a [checkpoint](Engine::training_checkpoint).
    pub is_checkpoint: bool,
}

/// What a call of [`Engine::next_of_training`] came to.
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

    fn head(&self, of: &str) -> Head {
        let (of, config) = (of.to_owned(), String::new());
        Head { of, step: self.done, steps: self.steps(), options: self.options.kept(), config }
    }
}

impl Engine {
    /// A training that is to begin, once its dataset has been [given](Self::add_to_training).
    ///
    /// Errors with `Argument` for an option out of range.
    pub fn plan_training(&self, options: TrainOptions) -> Result<Program> {
        let context = self.model.context();
        options.check(context)?;
        Ok(Program {
            dataset: Dataset::new(options.window(context), options.completion_only),
            optimizer: options.optimizer(),
            options,
            done: 0,
            order: None,
            step: None,
            is_unborn: false,
            is_under_way: false,
        })
    }

    /// Adds an item to a training's dataset: a text, or an object in one of the forms
    /// {prompt, completion}, {messages}, {instruction, output, input?} (Alpaca) and {conversations}
    /// (ShareGPT). What is returned is to be written by the model's chat template, encoded, and given to
    /// [`add_conversations`](Self::add_conversations) before the next item.
    ///
    /// Errors with `Argument` naming what of it is wrong, `Unsupported`.
    pub fn add_to_training(&self, program: &mut Program, item: &Value) -> Result<Vec<Asked>> {
        program.dataset.add(item, self)
    }

    /// Adds the token ids of the conversations that [`add_to_training`](Self::add_to_training) asked for.
    ///
    /// Errors with `Argument` for another number of them or a prompt that is too long, `Unsupported` for a
    /// template that writes an answer's past differently once the answer is there.
    pub fn add_conversations(&self, program: &mut Program, tokens: Vec<Vec<u32>>) -> Result<()> {
        program.dataset.answer(tokens)
    }

    /// Begins a training whose dataset is complete, with a new adapter or one there is, or goes on from a
    /// checkpoint's file. Everything is as it was on an error.
    ///
    /// Errors with `Argument` for a dataset of nothing, an adapter that is there already or has another
    /// shape, or a checkpoint of another training; `Format` for one that cannot be read; and as
    /// [`new_lora`](Self::new_lora) and [`begin_training`](Self::begin_training) do.
    pub async fn begin_program(&mut self, program: &mut Program, saved: Option<Saved<'_>>) -> Result<()> {
        if program.dataset.windows.is_empty() {
            return Err(Error::argument("dataset: no text of at least two tokens"));
        }
        let saved = saved.map(|Saved { key, of, file }| {
            let saved = Checkpoint::parse(key, file)?;
            saved.check(key, of, program.steps(), &program.options.kept())?;
            Ok::<_, Error>(saved)
        });
        let saved = saved.transpose()?;
        let TrainOptions { name, resume, .. } = &program.options;
        let is_there = self.get_adapter(name).is_ok();
        match &saved {
            Some(Checkpoint { head, weights }) => {
                self.load_adapter(name, head.config.as_bytes(), weights).await?;
                program.done = head.step;
            }
            None if is_there && !resume => {
                return Err(Error::argument(format!(
                    "adapter `{name}` is loaded already, expected `resume: true` or another name"
                )));
            }
            None if is_there => self.check_resumed(&program.options)?,
            None => drop(self.new_lora(name, &program.options.lora()).await?),
        }
        if let Err(e) = self.begin_program_training(program).await {
            if !is_there {
                self.delete_adapter(&program.options.name)?;
            }
            return Err(e);
        }
        program.is_unborn = !is_there && saved.is_none();
        program.is_under_way = true;
        Ok(())
    }

    async fn begin_program_training(&mut self, program: &Program) -> Result<()> {
        let room = TrainingRoom {
            window: program.options.window(self.model.context()),
            dropout: program.options.dropout > 0.0,
            memory_limit: program.options.memory_limit,
        };
        self.begin_training_reserved(&program.options.name, room).await?;
        if let Err(e) = self.check_kernels().await {
            self.end_training()?;
            return Err(e);
        }
        Ok(())
    }

    /// Errors with `Argument` if the adapter there is has another shape than is asked for.
    fn check_resumed(&self, options: &TrainOptions) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Shape {
            r: usize,
            lora_alpha: f64,
        }
        let TrainOptions { name, rank, alpha, target_modules, .. } = options;
        let modules = &self.get_adapter(name)?.modules;
        let Shape { r, lora_alpha } = serde_json::from_slice(&self.adapter_config(name)?)
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

    /// Moves a training on, by as much of a step as [`next_slices`](Self::next_slices) does with `rows`.
    ///
    /// Errors as that and [`begin_step`](Self::begin_step) do. The adapter is then as the last step that
    /// ended left it, and what is asked for next does the step once more.
    pub async fn next_of_training(&mut self, program: &mut Program, rows: usize) -> Result<TrainEvent> {
        if !program.is_under_way || program.done == program.steps() {
            return Ok(TrainEvent::Done);
        }
        let (mut step, learning_rate, tokens) = match program.step.take() {
            Some(under_way) => under_way,
            None => {
                let (windows, rate) = (program.next_windows(), program.rate());
                let tokens = windows.iter().map(|window| window.tokens.len()).sum();
                let choice = program.options.choice();
                (self.begin_step(windows, &choice, &program.optimizer, rate as f32)?, rate, tokens)
            }
        };
        let result = self.next_slices(&mut step, rows).await;
        if result.is_err() || !step.is_finished() {
            let (done, all) = step.progress();
            program.step = Some((step, learning_rate, tokens));
            return result.map(|()| TrainEvent::Progress(done, all));
        }
        let loss = step.loss();
        self.end_step(step, &mut program.optimizer);
        let epoch = program.done / program.per_epoch() + 1;
        (program.done, program.is_unborn) = (program.done + 1, false);
        let (step, steps) = (program.done, program.steps());
        let is_checkpoint =
            program.options.checkpoint_every.is_some_and(|n| step < steps && step.is_multiple_of(n));
        Ok(TrainEvent::Step(StepReport { step, steps, epoch, loss, learning_rate, tokens, is_checkpoint }))
    }

    /// The file from which the same training goes on; `of` is a digest of its
    /// [identity](Program::identity).
    ///
    /// Errors as [`export_adapter`](Self::export_adapter) does.
    pub fn training_checkpoint(&self, program: &Program, of: &str) -> Result<Vec<u8>> {
        program.head(of).file(self.export_adapter(&program.options.name)?)
    }

    /// Ends a training, complete or not, and frees what it needed. The adapter stays as the last step that
    /// ended left it; a new one that has had none is gone. Ending it twice is no error.
    pub fn end_program(&mut self, program: &mut Program) -> Result<()> {
        if let Some((step, ..)) = program.step.take() {
            self.end_step(step, &mut program.optimizer);
        }
        if !std::mem::take(&mut program.is_under_way) {
            return Ok(());
        }
        self.end_training()?;
        if program.is_unborn { self.delete_adapter(&program.options.name) } else { Ok(()) }
    }
}

/// A checkpoint to go on from.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// What it is known by, for messages.
    pub key: &'a str,
    /// A digest of the training's [identity](Program::identity).
    pub of: &'a str,
    /// As [`Engine::training_checkpoint`] made it.
    pub file: &'a [u8],
}
