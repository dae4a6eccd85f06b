//! Steps of training: windows of text in, a changed adapter out, a slice of work at a time.
//!
//! A step that is dropped before its end leaves the adapter as it was, for the update comes last.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::Trainee;
use crate::plan::{Row, Training};

use crate::engine::Engine;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::{Kind, forward_rows, run_rows, slice_rows};
use crate::engine::text::seat::Seat;
use crate::engine::training::windows::Window;

/// What a slice costs, however short: rows of a layer forward.
const ANY_SLICE: usize = 4;

/// AdamW (arXiv:1711.05101) and what surrounds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f32,
    /// Times the learning rate, taken from every parameter.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; 0 is no limit.
    pub max_norm: f32,
    /// Probability of an element of a LoRA's input to be dropped.
    pub dropout: f32,
    /// Of that noise.
    pub seed: u32,
    /// Steps finished.
    pub steps: u32,
}

impl Default for Optimizer {
    /// That of the published Temp-LoRA (arXiv:2401.11504), without dropout.
    fn default() -> Self {
        let betas = [0.9, 0.999];
        Self { betas, eps: 1e-7, weight_decay: 0.0, max_norm: 1.0, dropout: 0.0, seed: 0, steps: 0 }
    }
}

/// A step under way; see [`Engine::begin_step`].
#[derive(Debug)]
pub struct Step {
    choice: Choice,
    windows: Vec<Window>,
    /// How many of them have been opened.
    opened: usize,
    numbers: Training,
    /// The device it is done on, by number.
    device: u64,
    /// Weights of all that is learned.
    weights: f64,
    /// Most rows of the head at once: the losses do not depend on it.
    head_rows: usize,
    seat: Option<(Seat, Vec<u32>)>,
    slices: VecDeque<Slice>,
    losses: f64,
    done: usize,
    all: usize,
    /// Whether its update is made.
    finished: bool,
    /// Whether a piece of it has failed: it would begin anew.
    failed: bool,
}

/// A piece of work that ends in at most one submission.
#[derive(Clone, Debug)]
enum Slice {
    Open(Window),
    Embed(Range<usize>),
    Layer(usize, Range<usize>),
    /// With the weight of its losses.
    Head(Range<usize>, f32),
    ClearCache,
    Backward(usize, Range<usize>),
    Close(Range<usize>),
    Update,
}

impl Step {
    /// Mean loss, nats, of what has been read so far, before the step's own update.
    pub fn loss(&self) -> f64 {
        self.losses / self.weights
    }

    /// Work done, and all there is, in rows of a layer forward.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.all)
    }

    /// The one that is open, or was last.
    fn window(&self) -> &Window {
        &self.windows[self.opened - 1]
    }

    /// Whether the adapter has been changed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Engine {
    /// Begins a step of the trained adapter on windows. It acts under
    /// `choice`, which must name it.
    ///
    /// Errors with `Argument` for a window out of range, a choice without the adapter or with one
    /// that cannot be trained through, or if none is trained.
    pub fn begin_step(
        &mut self,
        windows: Vec<Window>,
        choice: &Choice,
        optimizer: &Optimizer,
        learning_rate: f32,
    ) -> Result<Step> {
        let name = self.trained_adapter().ok_or_else(|| Error::argument("no adapter is being trained"))?;
        if !choice.iter().any(|(chosen, weight)| chosen == name && *weight != 0.0) {
            return Err(Error::argument(format!("adapter `{name}` is being trained, the choice lacks it")));
        }
        self.check_trains_through(choice)?;
        let most = self.model.training.trainee.as_ref().map_or(0, |trainee| trainee.window);
        for Window { tokens, loss, .. } in &windows {
            if loss.rows().is_empty() || loss.len() + 1 != tokens.len() || tokens.len() > most {
                return Err(Error::argument(format!(
                    "a window of {} tokens with {} targets, {} of them learned; expected one target fewer than tokens, one or more learned, and at most {most} tokens",
                    tokens.len(),
                    loss.len(),
                    loss.learned().len()
                )));
            }
            self.check_ids(tokens)?;
            self.check_ids(&loss.learned())?;
        }
        if windows.is_empty() {
            return Err(Error::argument("no window to learn from"));
        }
        let weights = windows.iter().map(|window| window.loss.total()).sum::<f64>();
        let &Optimizer { betas, eps, weight_decay, max_norm, dropout, seed, steps } = optimizer;
        let steps = steps + 1;
        let mut numbers = Training {
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
        let head_rows = self.head_rows();
        let all = windows.iter().map(|window| self.cost_of_window(window, head_rows)).sum::<usize>()
            + self.cost(&Slice::Update);
        let mut step = Step {
            choice: choice.clone(),
            windows,
            opened: 0,
            numbers,
            device: self.device,
            weights,
            head_rows,
            seat: None,
            slices: VecDeque::new(),
            losses: 0.0,
            done: 0,
            all,
            finished: false,
            failed: false,
        };
        self.restart_step(&mut step);
        Ok(step)
    }

    fn restart_step(&mut self, step: &mut Step) {
        self.close_window(step);
        step.slices.clear();
        step.failed = false;
        (step.device, step.opened, step.losses, step.done) = (self.device, 0, 0.0, 0);
        self.upload_numbers(step);
        // A step that was dropped may have left gradients.
        for moments in &self.model.training.moments {
            moments.g.into_iter().for_each(|g| self.backend.clear(g));
        }
    }

    fn upload_numbers(&mut self, step: &Step) {
        let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&step.numbers));
        self.backend.upload(self.model.training.numbers, 0, words);
    }

    /// Errors with `Argument` for a choice that cannot be made, `Unsupported` if gradients do not pass
    /// through all of it.
    pub(in crate::engine) fn check_trains_through(&self, choice: &Choice) -> Result<()> {
        for (loaded, _) in self.adapters.active(choice)? {
            if !loaded.trains_through() {
                return Err(Error::unsupported(format!(
                    "adapter `{}`: it is no plain LoRA, another cannot be trained beside it",
                    loaded.info.name
                )));
            }
        }
        Ok(())
    }

    /// Does at least one piece of work, and others while all together take no longer than `rows` rows of a
    /// layer forward; then waits for them.
    ///
    /// Errors with `Device`. The step must be [`end_step`](Self::end_step)ed all the same, or begins
    /// anew if it is asked for more, as it does once the engine has [recovered](Self::recover).
    pub async fn next_slices(&mut self, step: &mut Step, rows: usize) -> Result<()> {
        if step.failed || step.device != self.device && !step.finished {
            self.restart_step(step);
        }
        let done = self.do_slices(step, rows).await;
        step.failed = done.is_err();
        done
    }

    async fn do_slices(&mut self, step: &mut Step, rows: usize) -> Result<()> {
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
            let cost = self.cost(&slice);
            left = left.saturating_sub(cost);
            self.run_slice(step, slice).await?;
            step.done += cost;
            if step.slices.front().is_some_and(|next| self.cost(next) > left) || left == 0 {
                break;
            }
        }
        // Bounds the work that is queued, so that a caller can stop between slices. A step that is done
        // has waited.
        if !step.is_finished() {
            self.backend.read(self.model.state.ring, 0, 1).await?;
        }
        Ok(())
    }

    /// About how many rows of a layer forward take as long as a slice; measured on the CPU.
    fn cost(&self, slice: &Slice) -> usize {
        let rows = |tile: &Range<usize>| tile.len() + ANY_SLICE;
        match slice {
            // Forward once more, the gradient by the input, and those of adapters and attention.
            Slice::Backward(_, tile) => 3 * rows(tile),
            // There and back.
            Slice::Head(tile, _) => {
                (2 * self.model.head_weights()).div_ceil(self.model.layer_weights()) * rows(tile)
            }
            Slice::Layer(_, tile) => rows(tile),
            // Moments and numbers of every module are read back.
            Slice::Update => 64,
            Slice::Open(_) | Slice::Embed(_) | Slice::ClearCache | Slice::Close(_) => ANY_SLICE,
        }
    }

    /// Gives back what a step occupies, finished or not; one that is finished counts, one that failed
    /// does not.
    pub fn end_step(&mut self, mut step: Step, optimizer: &mut Optimizer) {
        optimizer.steps += u32::from(step.is_finished());
        self.close_window(&mut step);
    }

    fn close_window(&mut self, step: &mut Step) {
        if let Some((seat, _)) = step.seat.take() {
            self.leave_seat(seat, &[]);
        }
    }

    /// Runs a whole step, and returns its loss before the update.
    ///
    /// Errors as [`begin_step`](Self::begin_step) and [`next_slices`](Self::next_slices) do.
    pub async fn train_step(
        &mut self,
        windows: Vec<Window>,
        choice: &Choice,
        optimizer: &mut Optimizer,
        learning_rate: f32,
    ) -> Result<f64> {
        let mut step = self.begin_step(windows, choice, optimizer, learning_rate)?;
        let mut result = Ok(());
        while result.is_ok() && !step.is_finished() {
            result = self.next_slices(&mut step, usize::MAX).await;
        }
        let loss = step.loss();
        self.end_step(step, optimizer);
        result.map(|()| loss)
    }

    async fn run_slice(&mut self, step: &mut Step, slice: Slice) -> Result<()> {
        match slice {
            Slice::Open(window) => self.open_window(step, window)?,
            Slice::Embed(tile) => {
                self.upload_tile(step, &tile);
                self.run_kind(Kind::TrainEmbed, tile.len())?;
            }
            Slice::Layer(l, tile) => {
                self.upload_tile(step, &tile);
                self.run_kind(Kind::TrainLayer(l), tile.len())?;
            }
            Slice::Head(tile, weight) => {
                self.upload_tile(step, &tile);
                let loss_weight = weight / step.weights as f32;
                if loss_weight != step.numbers.loss_weight {
                    step.numbers.loss_weight = loss_weight;
                    self.upload_numbers(step);
                }
                let targets = step.window().loss.targets(tile.clone());
                self.backend.upload(self.model.training.targets, 0, &targets);
                self.run_kind(Kind::TrainHead, tile.len())?;
            }
            Slice::ClearCache => {
                self.model.training.cache.into_iter().for_each(|tensor| self.backend.clear(tensor));
            }
            Slice::Backward(l, tile) => {
                self.upload_tile(step, &tile);
                self.run_kind(Kind::TrainBackward(l), tile.len())?;
            }
            Slice::Close(labels) => {
                let (first, n) = (labels.start, labels.len());
                let words = self.backend.read(self.model.training.losses, first, n).await?;
                let losses: &[f32] = bytemuck::cast_slice(&words);
                step.losses += step.window().loss.sum(labels, losses);
                self.close_window(step);
                if step.opened == step.windows.len() {
                    step.slices.push_back(Slice::Update);
                }
            }
            Slice::Update => {
                if !step.losses.is_finite() {
                    return Err(Error::device(format!(
                        "the loss is {}; a smaller learning rate than {} may help",
                        step.losses, step.numbers.learning_rate
                    )));
                }
                let rows = self.model.training.trainee.as_ref().map_or(1, Trainee::update_rows);
                self.run_kind(Kind::TrainUpdate, rows)?;
                if let Err(e) = self.sync_trainee().await {
                    // What cannot be written now, a lost device's successor gets.
                    self.undo_step()?;
                    return Err(e);
                }
                step.finished = true;
            }
        }
        Ok(())
    }

    /// Takes a seat for a window and plans its slices.
    fn open_window(&mut self, step: &mut Step, window: Window) -> Result<()> {
        let (seat, tokens, reused) = self.take_seat(&window.tokens, Some(&step.choice))?;
        step.seat = Some((seat, tokens));
        self.rows_of = None;
        let first = if window.constant_context { reused.min(window.loss.rows().start) } else { 0 };
        let slices = self.slices_of(&window, first, step.head_rows);
        step.done += self.cost_of_window(&window, step.head_rows) - self.cost_of_all(&slices) - ANY_SLICE;
        step.slices = slices;
        self.backend.clear(self.model.training.gradients);
        Ok(())
    }

    /// The slices of a window whose first `cached` tokens have valid keys and values.
    fn slices_of(&self, window: &Window, cached: usize, head_rows: usize) -> VecDeque<Slice> {
        let layers = self.model.config.num_hidden_layers;
        // What comes after the last row that is learned has no part in it.
        let labels = window.loss.rows();
        let trained = if window.constant_context { labels.start } else { 0 };
        // Back, a row goes through each weight twice: forward once more, and its gradient.
        let rows = slice_rows(&self.backend, 2 * self.model.layer_weights());
        let context = tiles(cached..trained, rows);
        let text = tiles(trained..labels.end, rows);
        let mut slices = VecDeque::new();
        for tile in context.iter().chain(&text) {
            slices.push_back(Slice::Embed(tile.clone()));
            slices.extend((0..layers).map(|l| Slice::Layer(l, tile.clone())));
        }
        for (run, weight) in window.loss.runs(labels.clone()) {
            slices.extend(tiles(run, head_rows).into_iter().map(|tile| Slice::Head(tile, weight)));
        }
        for l in (0..layers).rev() {
            slices.push_back(Slice::ClearCache);
            slices.extend(text.iter().rev().map(|tile| Slice::Backward(l, tile.clone())));
        }
        slices.push_back(Slice::Close(labels));
        slices
    }

    fn head_rows(&self) -> usize {
        let per_row = 2 * self.model.head_weights();
        let most = slice_rows(&self.backend, per_row).min(self.model.score_rows());
        forward_rows(&self.backend, per_row, most)
    }

    /// The work of a window of which nothing is cached, its opening included.
    fn cost_of_window(&self, window: &Window, head_rows: usize) -> usize {
        self.cost_of_all(&self.slices_of(window, 0, head_rows)) + ANY_SLICE
    }

    fn cost_of_all(&self, slices: &VecDeque<Slice>) -> usize {
        slices.iter().map(|slice| self.cost(slice)).sum()
    }

    fn upload_tile(&mut self, step: &Step, tile: &Range<usize>) {
        let (seat, tokens) = step.seat.as_ref().expect("a window is open");
        let rows: Vec<Row> = tile.clone().map(|pos| seat.row(tokens[pos], pos)).collect();
        self.rows_of = None;
        self.upload_rows(&rows);
    }

    fn run_kind(&mut self, kind: Kind, n: usize) -> Result<()> {
        let plan = self.plans.get(kind, n, &self.model, &mut self.backend)?;
        self.backend.run(plan, 1);
        Ok(())
    }
}

/// A range in runs of a power of two, at most `most` long, so that few plans serve every length.
fn tiles(range: Range<usize>, most: usize) -> Vec<Range<usize>> {
    let mut tiles = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let n = run_rows(range.end - at, most);
        tiles.push(at..at + n);
        at += n;
    }
    tiles
}
