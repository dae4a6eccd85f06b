//! The learning-rate probe: the first chunk is learned at several rates from the same start, and the
//! one that predicts the next chunk best goes on. Never by the chunk that was learned.

use crate::error::Result;

use super::super::Engine;
use super::super::adapter::ModuleDelta;
use super::super::score::Scoring;
use super::{After, TempLora, Work};

/// The rates tried, as multiples of the option's.
const MULTIPLES: [f32; 4] = [1.0 / 16.0, 0.25, 1.0, 4.0];

/// Which of them acts until one is chosen: the option's own.
const UNTIL_CHOSEN: usize = 2;

/// How far a probe is.
#[derive(Clone, Debug, Default)]
pub(super) enum Probe {
    /// None was asked for, or it has chosen.
    #[default]
    Over,
    /// It waits for a chunk to learn.
    Waiting,
    /// The chunk is being learned at each rate in turn.
    Learning { start: Vec<ModuleDelta>, lanes: Vec<Lane> },
    /// Every rate has learned, and waits for the next chunk to be judged by.
    Judging { start: Vec<ModuleDelta>, lanes: Vec<Lane> },
}

/// What one rate has made of the adapter.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    deltas: Vec<ModuleDelta>,
    train_losses: Vec<f64>,
    /// Of the next chunk.
    loss: f64,
}

impl Probe {
    /// The factor on the learning rate of the step to come.
    pub fn multiple(&self) -> f32 {
        match self {
            Self::Learning { lanes, .. } => MULTIPLES[lanes.len()],
            Self::Over | Self::Waiting | Self::Judging { .. } => 1.0,
        }
    }
}

impl Engine {
    /// Begins to learn the chunk, by way of the probe if there is one.
    pub(super) fn temp_lesson(&mut self, temp: &mut TempLora, after: After) -> Result<()> {
        match temp.probe {
            Probe::Judging { .. } => self.temp_judge(temp, 0, after),
            // A chunk that warm-up gives no rate teaches nothing about rates.
            Probe::Waiting if temp.learning_rate() > 0.0 => {
                let start = self.adapters.find(&temp.options.name)?.adapter.deltas.clone();
                temp.probe = Probe::Learning { start, lanes: Vec::new() };
                self.temp_train(temp, after)
            }
            Probe::Over | Probe::Waiting | Probe::Learning { .. } => self.temp_train(temp, after),
        }
    }

    /// Notes what a rate has made of the adapter. Returns whether another rate is to be tried, from
    /// the same start.
    pub(super) fn temp_next_rate(&mut self, temp: &mut TempLora) -> Result<bool> {
        let Probe::Learning { start, mut lanes } = std::mem::take(&mut temp.probe) else { return Ok(false) };
        let deltas = self.adapters.find(&temp.options.name)?.adapter.deltas.clone();
        let train_losses = std::mem::take(&mut temp.report.train_losses);
        lanes.push(Lane { deltas, train_losses, loss: f64::NAN });
        if lanes.len() < MULTIPLES.len() {
            self.temp_restore(temp, start.clone())?;
            temp.probe = Probe::Learning { start, lanes };
            return Ok(true);
        }
        let Lane { deltas, train_losses, .. } = lanes[UNTIL_CHOSEN].clone();
        temp.probe = Probe::Judging { start, lanes };
        temp.report.train_losses = train_losses;
        temp.report.learning_rate = temp.learning_rate();
        self.temp_restore(temp, deltas)?;
        Ok(false)
    }

    /// Begins to score the chunk as rate `lane` would have it.
    fn temp_judge(&mut self, temp: &mut TempLora, lane: usize, after: After) -> Result<()> {
        let Probe::Judging { lanes, .. } = &temp.probe else { unreachable!("rates have learned") };
        let deltas = lanes[lane].deltas.clone();
        let (tokens, first) = temp.window();
        let scoring = self.temp_restore(temp, deltas);
        let scoring = scoring.and_then(|()| self.begin_scoring(&tokens, first, Some(&temp.choice())));
        let (scoring, after) = self.or_end(scoring, after)?;
        temp.work = Work::Judge(scoring, lane, after);
        Ok(())
    }

    /// Notes a rate's score of the chunk; after the last, the best one is chosen and goes on.
    pub(super) fn temp_judged(
        &mut self,
        temp: &mut TempLora,
        scoring: Scoring,
        lane: usize,
        after: After,
    ) -> Result<()> {
        let losses = self.end_scoring(scoring);
        let Probe::Judging { lanes, .. } = &mut temp.probe else { unreachable!("rates have learned") };
        lanes[lane].loss = losses.iter().sum::<f64>() / losses.len() as f64;
        if lane + 1 < lanes.len() {
            return self.temp_judge(temp, lane + 1, after);
        }
        let Probe::Judging { start, mut lanes } = std::mem::take(&mut temp.probe) else {
            unreachable!("just seen")
        };
        let rate = temp.options.learning_rate;
        temp.report.probed = MULTIPLES
            .map(|multiple| rate * multiple)
            .into_iter()
            .zip(lanes.iter().map(|lane| lane.loss))
            .collect();
        let best = (0..lanes.len()).min_by(|&a, &b| lanes[a].loss.total_cmp(&lanes[b].loss));
        let best = best.expect("rates were tried");
        temp.options.learning_rate = rate * MULTIPLES[best];
        let deltas = if temp.report.rolled_back { start } else { lanes.swap_remove(best).deltas };
        let restored = self.temp_restore(temp, deltas);
        let ((), after) = self.or_end(restored, after)?;
        self.temp_train(temp, after)
    }

    /// Leaves a probe whose work was dropped where it can begin anew.
    pub(super) fn temp_cancel_probe(&mut self, temp: &mut TempLora) {
        let deltas = match std::mem::take(&mut temp.probe) {
            Probe::Over => return,
            Probe::Waiting => {
                temp.probe = Probe::Waiting;
                return;
            }
            Probe::Learning { start, .. } => {
                temp.probe = Probe::Waiting;
                start
            }
            Probe::Judging { start, lanes } => {
                let deltas = lanes[UNTIL_CHOSEN].deltas.clone();
                temp.probe = Probe::Judging { start, lanes };
                deltas
            }
        };
        // Fails where training was ended meanwhile: then there is nothing to go on with.
        let _ = self.temp_restore(temp, deltas);
    }

    /// Gives the adapter other numbers; its optimizer begins anew.
    pub(super) fn temp_restore(&mut self, temp: &mut TempLora, deltas: Vec<ModuleDelta>) -> Result<()> {
        self.restore_trainee(deltas)?;
        temp.optimizer.steps = 0;
        Ok(())
    }
}
