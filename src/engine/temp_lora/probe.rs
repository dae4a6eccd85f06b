//! The learning-rate probe: the first chunks are learned at several rates side by side, and the rate
//! that has predicted best what followed each goes on, as if it had been alone from the start.
//! Never by a chunk that was learned.

use crate::error::Result;

use super::work::is_repetitive;
use super::{After, TempLora, Work};
use crate::engine::Engine;
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
    /// Steps taken.
    steps: u32,
    /// On the chunk learned last.
    train_losses: Vec<f64>,
    /// Of the chunks that followed, nats.
    loss: f64,
}

impl Probe {
    /// Whether one rate is all there is.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// The factor on the learning rate of the step to come.
    pub fn multiple(&self) -> f32 {
        match self {
            Self::Trying(trial) => MULTIPLES[trial.at],
            Self::Over | Self::Waiting => 1.0,
        }
    }
}

impl Engine {
    /// Begins to learn the chunk, if it is worth it, by way of the probe if there is one.
    pub(super) fn temp_lesson(&mut self, temp: &mut TempLora, after: After) -> Result<()> {
        if is_repetitive(temp) {
            temp.work = Work::Learned(after);
            return Ok(());
        }
        match &temp.probe {
            Probe::Over => self.temp_train(temp, after),
            // A chunk that warm-up gives no rate teaches nothing about rates.
            Probe::Waiting if temp.learning_rate() == 0.0 => self.temp_train(temp, after),
            Probe::Waiting => {
                let state = self.trainee_state();
                let (state, after) = self.or_end(state, after)?;
                let lane = Lane { state, steps: temp.optimizer.steps, train_losses: Vec::new(), loss: 0.0 };
                let lanes = vec![lane; MULTIPLES.len()];
                temp.probe = Probe::Trying(Trial { lanes, at: 0, lessons: 0, labels: 0 });
                self.temp_train(temp, after)
            }
            Probe::Trying(_) => self.temp_judge(temp, 0, after),
        }
    }

    /// Begins to score the chunk as lane `at` would have it.
    fn temp_judge(&mut self, temp: &mut TempLora, at: usize, after: After) -> Result<()> {
        let (tokens, first) = temp.window();
        let scoring = self.temp_enter(temp, at);
        let scoring = scoring.and_then(|()| self.begin_scoring(&tokens, first, Some(&temp.choice())));
        let (scoring, after) = self.or_end(scoring, after)?;
        temp.work = Work::Judge(scoring, after);
        Ok(())
    }

    /// Notes a lane's score of the chunk. After the last one the chunk is learned, at every rate or at
    /// the best.
    pub(super) fn temp_judged(&mut self, temp: &mut TempLora, scoring: Scoring, after: After) -> Result<()> {
        let losses = self.end_scoring(scoring);
        let Probe::Trying(trial) = &mut temp.probe else { unreachable!("rates are tried") };
        trial.lanes[trial.at].loss += losses.iter().sum::<f64>();
        let next = trial.at + 1;
        if next < trial.lanes.len() {
            return self.temp_judge(temp, next, after);
        }
        trial.labels += losses.len();
        let chosen = if trial.lessons < LESSONS {
            self.temp_enter(temp, 0)
        } else {
            let labels = trial.labels as f64;
            let rates = MULTIPLES.map(|multiple| temp.options.learning_rate * multiple);
            let means = trial.lanes.iter().map(|lane| lane.loss / labels);
            let probed: Vec<(f32, f64)> = rates.into_iter().zip(means).collect();
            let best = (0..probed.len()).min_by(|&a, &b| probed[a].1.total_cmp(&probed[b].1));
            let best = best.expect("rates were tried");
            let entered = self.temp_enter(temp, best);
            temp.probe = Probe::Over;
            temp.options.learning_rate = rates[best];
            temp.report.probed = probed;
            entered
        };
        let ((), after) = self.or_end(chosen, after)?;
        self.temp_train(temp, after)
    }

    /// Notes what the lane in use has learned from the chunk. Returns whether another lane is to learn it.
    pub(super) fn temp_next_rate(&mut self, temp: &mut TempLora) -> Result<bool> {
        let Probe::Trying(trial) = &mut temp.probe else { return Ok(false) };
        let lane = &mut trial.lanes[trial.at];
        lane.state = self.trainee_state()?;
        lane.steps = temp.optimizer.steps;
        lane.train_losses = std::mem::take(&mut temp.report.train_losses);
        let next = trial.at + 1;
        if next < trial.lanes.len() {
            self.temp_enter(temp, next)?;
            return Ok(true);
        }
        trial.lessons += 1;
        temp.report.train_losses = trial.lanes[OWN].train_losses.clone();
        self.temp_enter(temp, OWN)?;
        temp.report.learning_rate = temp.learning_rate();
        Ok(false)
    }

    /// Begins anew where work of a probe was dropped: some lanes have seen the chunk, others not.
    pub(super) fn temp_drop_trial(&mut self, temp: &mut TempLora) {
        if let Probe::Trying(_) = temp.probe {
            // Fails where training was ended meanwhile: then there is nothing to go on with.
            let _ = self.temp_enter(temp, OWN);
            temp.probe = Probe::Waiting;
        }
    }

    /// Makes the adapter that of lane `at`.
    fn temp_enter(&mut self, temp: &mut TempLora, at: usize) -> Result<()> {
        let Probe::Trying(trial) = &mut temp.probe else { unreachable!("rates are tried") };
        trial.at = at;
        temp.optimizer.steps = trial.lanes[at].steps;
        self.set_trainee_state(&trial.lanes[at].state)
    }
}
