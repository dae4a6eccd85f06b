//! Steps of training: windows of text in, a changed adapter out, a slice of work at a time.
//!
//! A step that is dropped before its end leaves the adapter as it was, for the update comes last.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::{Trainee, Training};
use crate::plan::Training as Numbers;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::seat::Seat;
use crate::engine::training::Trainer;
use crate::engine::training::optimizer::Optimizer;
use crate::engine::training::slices::{ANY_SLICE, Slice, cost_of_all, cost_of_window, head_rows, slices_of};
use crate::engine::training::windows::Window;

/// A step under way; see [`Engine::begin_step`](crate::engine::Engine::begin_step).
#[derive(Debug)]
pub struct Step {
    pub(super) choice: Choice,
    pub(super) windows: Vec<Window>,
    /// How many of them have been opened.
    opened: usize,
    pub(super) numbers: Numbers,
    /// The device it is done on, by number.
    device: u64,
    /// Weights of all that is learned.
    weights: f64,
    /// Most rows of the head at once: the losses do not depend on it.
    head_rows: usize,
    seat: Option<(Seat, Vec<u32>)>,
    slices: VecDeque<Slice>,
    losses: f64,
    /// Sum of the squares of all gradients.
    norms: f64,
    done: usize,
    all: usize,
    /// Whether its update is made.
    finished: bool,
    /// Whether a piece of it has failed: it would begin anew.
    failed: bool,
    /// Whether what it teaches is read back at once: its state is asked for.
    pub(crate) is_kept: bool,
}

impl Step {
    /// Mean loss, nats, of what has been read so far, before the step's own update.
    pub(crate) fn loss(&self) -> f64 {
        self.losses / self.weights
    }

    /// Work done, and all there is, in rows of a layer forward.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.all)
    }

    /// Whether the adapter has been changed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Trainer {
    /// Begins a step of the trained adapter on windows. It acts under `choice`, which must name it.
    ///
    /// Errors with `Argument` for a window out of range, a choice without the adapter or with one
    /// that cannot be trained through, or if none is trained.
    pub(crate) fn begin_step(
        &self,
        runner: &mut Runner,
        adapters: &Adapters,
        windows: Vec<Window>,
        choice: &Choice,
        learning_rate: f32,
    ) -> Result<Step> {
        let name = &adapters.trained()?.info.name;
        let Self { optimizer, steps, .. } = self;
        if !choice.iter().any(|(chosen, weight)| chosen == name && *weight != 0.0) {
            return Err(Error::argument(format!("adapter `{name}` is being trained, the choice lacks it")));
        }
        adapters.check_trains_through(choice)?;
        let most = runner.model().training.trainee.as_ref().map_or(0, |trainee| trainee.window);
        for Window { tokens, loss, .. } in &windows {
            if loss.rows().is_empty() || loss.len() + 1 != tokens.len() || tokens.len() > most {
                return Err(Error::argument(format!(
                    "a window of {} tokens with {} targets, {} of them learned; expected one target fewer than tokens, one or more learned, and at most {most} tokens",
                    tokens.len(),
                    loss.len(),
                    loss.learned().len()
                )));
            }
            runner.model().check_ids(tokens)?;
            runner.model().check_ids(&loss.learned())?;
        }
        if windows.is_empty() {
            return Err(Error::argument("no window to learn from"));
        }
        let weights = windows.iter().map(|window| window.loss.total()).sum::<f64>();
        let &Optimizer { betas, eps, weight_decay, max_norm, dropout, seed } = optimizer;
        let steps = steps + 1;
        let mut numbers = Numbers {
            seed: seed.wrapping_add(steps),
            dropout,
            loss_weight: 1.0 / weights as f32,
            max_norm,
            learning_rate,
            weight_decay,
            eps,
            rates: [0.0; 2],
            corrections: [0.0; 2],
            padding: 0,
        };
        numbers.set_step(betas, steps);
        let head_rows = head_rows(runner);
        let all = windows.iter().map(|window| cost_of_window(runner, window, head_rows)).sum::<usize>()
            + Slice::Update.cost(runner.model());
        let mut step = Step {
            choice: choice.clone(),
            windows,
            opened: 0,
            numbers,
            device: runner.device(),
            weights,
            head_rows,
            seat: None,
            slices: VecDeque::new(),
            losses: 0.0,
            norms: 0.0,
            done: 0,
            all,
            finished: false,
            failed: false,
            is_kept: false,
        };
        step.restart(runner);
        Ok(step)
    }

    /// Does at least one piece of work, and others while all together take no longer than `rows` rows of a
    /// layer forward; then waits for them.
    ///
    /// Errors with `Device`. The step must be [`end_step`](Self::end_step)ed all the same, or begins
    /// anew if it is asked for more, as it does once the engine has [recovered](Self::recover).
    pub(crate) async fn next_slices(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        step: &mut Step,
        rows: usize,
    ) -> Result<()> {
        if step.failed || step.device != runner.device() && !step.finished {
            step.close_window(runner, adapters, texts);
            step.restart(runner);
        }
        let done = self.do_slices(runner, adapters, texts, step, rows).await;
        step.failed = done.is_err();
        done
    }

    async fn do_slices(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        step: &mut Step,
        rows: usize,
    ) -> Result<()> {
        let mut left = rows;
        loop {
            let slice = match step.slices.pop_front() {
                Some(slice) => slice,
                None if step.is_finished() => return Ok(()),
                None => {
                    step.opened += 1;
                    Slice::Open(step.windows[step.opened - 1].clone())
                }
            };
            let cost = slice.cost(runner.model());
            left = left.saturating_sub(cost);
            self.run_slice(runner, adapters, texts, step, slice).await?;
            step.done += cost;
            if step.slices.front().is_some_and(|next| next.cost(runner.model()) > left) || left == 0 {
                break;
            }
        }
        // A step that is done has waited.
        if step.is_finished() { Ok(()) } else { runner.wait().await }
    }

    /// Gives back what a step occupies, finished or not; one that is finished counts, one that failed
    /// does not.
    pub(crate) fn end_step(
        &self,
        runner: &Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        mut step: Step,
    ) {
        step.close_window(runner, adapters, texts);
    }

    /// Runs a whole step, and returns its loss before the update.
    ///
    /// Errors as [`begin_step`](Self::begin_step) and [`next_slices`](Self::next_slices) do.
    pub(crate) async fn whole_step(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        windows: Vec<Window>,
        choice: &Choice,
        learning_rate: f32,
    ) -> Result<f64> {
        let mut step = self.begin_step(runner, adapters, windows, choice, learning_rate)?;
        let mut result = Ok(());
        while result.is_ok() && !step.is_finished() {
            result = self.next_slices(runner, adapters, texts, &mut step, usize::MAX).await;
        }
        let loss = step.loss();
        self.end_step(runner, adapters, texts, step);
        result.map(|()| loss)
    }

    async fn run_slice(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        step: &mut Step,
        slice: Slice,
    ) -> Result<()> {
        match slice {
            Slice::Open(window) => step.open_window(runner, adapters, texts, window)?,
            Slice::Embed(tile) => step.run(runner, Kind::TrainEmbed, tile)?,
            Slice::Layer(l, tile) => step.run(runner, Kind::TrainLayer(l), tile)?,
            Slice::Head(tile) => step.run(runner, Kind::TrainHead, tile)?,
            Slice::ClearCache => {
                let (model, backend) = runner.parts();
                model.training.cache.into_iter().for_each(|tensor| backend.clear(tensor));
            }
            Slice::Backward(l, tile) => step.run(runner, Kind::TrainBackward(l), tile)?,
            Slice::Close(labels) => {
                let is_last = step.opened == step.windows.len();
                if is_last {
                    runner.run_as_is(Kind::TrainNorms, 1)?;
                }
                let Training { losses, sums, .. } = runner.model().training;
                let n_sums = runner.model().tensors.get(sums).len();
                let parts = [(losses, labels.start, labels.len()), (sums, 0, n_sums)];
                let read = runner.read_all(&parts[..1 + usize::from(is_last)]).await?;
                step.losses += step.window().loss.sum(labels, bytemuck::cast_slice(&read[0]));
                let norms = read[1..].iter().flat_map(|words| bytemuck::cast_slice::<u32, f32>(words));
                step.norms = norms.map(|&sum| f64::from(sum)).sum();
                step.close_window(runner, adapters, texts);
                if is_last {
                    step.slices.push_back(Slice::Update);
                }
            }
            Slice::Update => {
                for (what, number) in [("loss", step.losses), ("square of a gradient", step.norms)] {
                    if !number.is_finite() {
                        return Err(Error::device(format!(
                            "the {what} is {number}; a smaller learning rate than {} may help",
                            step.numbers.learning_rate
                        )));
                    }
                }
                self.before_update(runner, adapters, step).await?;
                let rows = runner.model().training.trainee.as_ref().map_or(1, Trainee::update_rows);
                runner.run_as_is(Kind::TrainUpdate, rows)?;
                self.after_update(runner, adapters, step).await?;
                step.finished = true;
            }
        }
        Ok(())
    }
}

impl Step {
    /// Begins, or begins anew. No window is open.
    fn restart(&mut self, runner: &mut Runner) {
        self.slices.clear();
        self.failed = false;
        (self.device, self.opened, self.losses, self.done) = (runner.device(), 0, 0.0, 0);
        self.upload_numbers(runner);
        let (model, backend) = runner.parts();
        // A step that was dropped may have left gradients.
        model.training.moments.arenas().iter().for_each(|arena| backend.clear(arena.g));
    }

    fn upload_numbers(&self, runner: &mut Runner) {
        let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&self.numbers));
        runner.upload(runner.model().training.numbers, 0, words);
    }

    /// The window that is open, or was last.
    fn window(&self) -> &Window {
        &self.windows[self.opened - 1]
    }

    /// Takes a seat for a window and plans its slices.
    fn open_window(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        texts: &mut Texts,
        window: Window,
    ) -> Result<()> {
        let chosen = adapters.choose(runner.model(), Some(&self.choice))?;
        let (seat, tokens, reused) = texts.take_seat(runner, adapters, &window.tokens, &chosen)?;
        self.seat = Some((seat, tokens));
        let first = if window.constant_context { reused.min(window.loss.rows().start) } else { 0 };
        let slices = slices_of(runner, &window, first, self.head_rows);
        let whole = cost_of_window(runner, &window, self.head_rows);
        self.done += whole - cost_of_all(runner.model(), &slices) - ANY_SLICE;
        self.slices = slices;
        let labels = window.loss.rows();
        let targets = runner.model().training.targets;
        runner.write_targets(targets, labels.start, &window.loss.targets(labels));
        runner.clear(runner.model().training.gradients);
        Ok(())
    }

    fn close_window(&mut self, runner: &Runner, adapters: &mut Adapters, texts: &mut Texts) {
        if let Some((seat, _)) = self.seat.take() {
            texts.leave_seat(runner, adapters, seat, &[]);
        }
    }

    /// Runs a plan on a tile of the open window.
    fn run(&self, runner: &mut Runner, kind: Kind, tile: Range<usize>) -> Result<()> {
        let (seat, tokens) = self.seat.as_ref().expect("a window is open");
        runner.run(kind, &seat.rows(tokens, tile))
    }
}
