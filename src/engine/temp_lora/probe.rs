//! The learning-rate probe: the first chunks are learned at several rates side by side, and the rate
//! that has predicted best what followed each goes on, as if it had been alone from the start.
//! Never by a chunk that was learned.

use crate::error::Result;

use super::{Chunk, TempLora, Work};
use crate::engine::owners::Owners;
use crate::engine::text::score::Scoring;
use crate::engine::training::trainee::TraineeState;

/// The rates tried, as multiples of the option's.
const MULTIPLES: [f32; 4] = [1.0 / 16.0, 0.25, 1.0, 4.0];

/// Which of them acts until one is chosen: the option's own.
const OWN: usize = 2;

/// Chunks that are learned at every rate; each is judged by the chunk that follows.
const LESSONS: usize = 3;

/// How far a probe is.
#[derive(Debug, Default)]
pub(super) enum Probe {
    /// None was asked for, or it has chosen.
    #[default]
    Over,
    /// It waits for a chunk to learn.
    Waiting,
    /// Rates are being tried.
    Trying(Trial),
}

#[derive(Debug)]
pub(super) struct Trial {
    lanes: Vec<Lane>,
    /// The lane whose adapter and rate are in use.
    at: usize,
    /// Chunks that every lane has learned.
    lessons: usize,
    /// Tokens that every lane was judged by.
    labels: usize,
}

/// What one rate makes of the adapter.
#[derive(Clone, Debug)]
struct Lane {
    state: TraineeState,
    /// On the chunk learned last.
    train_losses: Vec<f64>,
    /// Of the chunks that followed, nats.
    loss: f64,
}

impl Probe {
    /// Whether one rate is all there is.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// The factor on the learning rate of the step to come.
    pub(super) fn multiple(&self) -> f32 {
        match self {
            Self::Trying(trial) => MULTIPLES[trial.at],
            Self::Over | Self::Waiting => 1.0,
        }
    }
}

impl TempLora {
    /// Begins to learn a chunk, if it is worth it, by way of the probe if there is one.
    pub(super) fn begin_lesson(&mut self, owners: &mut Owners<'_>, mut chunk: Chunk) -> Result<()> {
        if !chunk.is_taught(&self.options) {
            self.work = Work::Learned(chunk);
            return Ok(());
        }
        if chunk.asks_base(&self.options) {
            let drawing = owners.begin_drawing(&chunk, &self.options.beside);
            let (drawing, chunk) = self.or_drop(owners, drawing, chunk)?;
            self.work = Work::DrawBase(chunk, drawing);
            return Ok(());
        }
        match &self.probe {
            Probe::Over => self.train_chunk(owners, chunk),
            // A chunk that warm-up gives no rate teaches nothing about rates.
            Probe::Waiting if self.learning_rate(&chunk) == 0.0 => self.train_chunk(owners, chunk),
            Probe::Waiting => {
                let state;
                (state, chunk) = self.or_drop(owners, owners.state(), chunk)?;
                let lane = Lane { state, train_losses: Vec::new(), loss: 0.0 };
                let lanes = vec![lane; MULTIPLES.len()];
                self.probe = Probe::Trying(Trial { lanes, at: 0, lessons: 0, labels: 0 });
                self.train_chunk(owners, chunk)
            }
            Probe::Trying(_) => self.judge_lane(owners, 0, chunk),
        }
    }

    /// Begins to score a chunk as lane `at` would have it.
    fn judge_lane(&mut self, owners: &mut Owners<'_>, at: usize, chunk: Chunk) -> Result<()> {
        let entered = self.enter_lane(owners, at);
        let scoring =
            entered.and_then(|()| owners.begin_scoring(&chunk.window, chunk.first, &self.options.acting()));
        let (scoring, chunk) = self.or_drop(owners, scoring, chunk)?;
        self.work = Work::Judge(chunk, scoring);
        Ok(())
    }

    /// Notes a lane's score of a chunk. After the last one the chunk is learned, at every rate or at
    /// the best.
    pub(super) fn lane_judged(
        &mut self,
        owners: &mut Owners<'_>,
        mut chunk: Chunk,
        scoring: Scoring,
    ) -> Result<()> {
        let losses = owners.end_scoring(scoring);
        let Probe::Trying(trial) = &mut self.probe else { unreachable!("rates are tried") };
        trial.lanes[trial.at].loss += losses.iter().sum::<f64>();
        let next = trial.at + 1;
        if next < trial.lanes.len() {
            return self.judge_lane(owners, next, chunk);
        }
        trial.labels += losses.len();
        let chosen = if trial.lessons < LESSONS {
            self.enter_lane(owners, 0)
        } else {
            let labels = trial.labels as f64;
            let rates = MULTIPLES.map(|multiple| self.options.learning_rate * multiple);
            let means = trial.lanes.iter().map(|lane| lane.loss / labels);
            let probed: Vec<(f32, f64)> = rates.into_iter().zip(means).collect();
            let best = (0..probed.len()).min_by(|&a, &b| probed[a].1.total_cmp(&probed[b].1));
            let best = best.expect("rates were tried");
            let entered = self.enter_lane(owners, best);
            self.probe = Probe::Over;
            self.options.learning_rate = rates[best];
            chunk.report.probed = probed;
            entered
        };
        let ((), chunk) = self.or_drop(owners, chosen, chunk)?;
        self.train_chunk(owners, chunk)
    }

    /// Notes what the lane in use has learned from a chunk. Returns whether another lane is to learn it.
    pub(super) fn next_rate(&mut self, owners: &mut Owners<'_>, chunk: &mut Chunk) -> Result<bool> {
        let Probe::Trying(trial) = &mut self.probe else { return Ok(false) };
        let lane = &mut trial.lanes[trial.at];
        lane.state = owners.state()?;
        lane.train_losses = std::mem::take(&mut chunk.report.train_losses);
        chunk.replayed = 0;
        let next = trial.at + 1;
        if next < trial.lanes.len() {
            self.enter_lane(owners, next)?;
            return Ok(true);
        }
        trial.lessons += 1;
        chunk.report.train_losses = trial.lanes[OWN].train_losses.clone();
        self.enter_lane(owners, OWN)?;
        chunk.report.learning_rate = self.learning_rate(chunk);
        Ok(false)
    }

    /// Begins anew where work of a probe was dropped: some lanes have seen the chunk, others not.
    pub(super) fn drop_trial(&mut self, owners: &mut Owners<'_>) {
        if let Probe::Trying(_) = self.probe {
            // Fails where training was ended meanwhile: then there is nothing to go on with.
            let _ = self.enter_lane(owners, OWN);
            self.probe = Probe::Waiting;
        }
    }

    /// Makes the adapter that of lane `at`.
    fn enter_lane(&mut self, owners: &mut Owners<'_>, at: usize) -> Result<()> {
        let Probe::Trying(trial) = &mut self.probe else { unreachable!("rates are tried") };
        trial.at = at;
        owners.set_state(&trial.lanes[at].state)
    }
}
