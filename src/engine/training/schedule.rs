//! How the learning rate moves over a training, with the meaning of transformers' `get_scheduler`.

use std::f64::consts::PI;

use crate::words::words;

/// What the learning rate does once it is warm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// It stays: transformers' `constant_with_warmup`, and `constant` without.
    Constant,
    /// It falls in a line to 0.
    #[default]
    Linear,
    /// It falls to 0 along half a cosine.
    Cosine,
}

impl Schedule {
    /// Share of the highest learning rate at `step`, from 0, of `steps`. Over the first `warmup`
    /// it rises in a line from 0.
    pub(crate) fn share(self, step: usize, warmup: usize, steps: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let gone = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - gone).max(0.0),
            Self::Cosine => 0.5 * (1.0 + (PI * gone.min(1.0)).cos()),
        }
    }
}

words!(Schedule, "schedule", [
    "constant" => Self::Constant,
    "linear" => Self::Linear,
    "cosine" => Self::Cosine,
]);

#[cfg(test)]
mod tests {
    use super::*;

    /// What `transformers.get_scheduler(name, optimizer, num_warmup_steps, num_training_steps)` (5.23)
    /// gives an optimizer of rate 1, at each step.
    #[test]
    fn shares_are_those_of_transformers() {
        let rise = [0.0, 0.333333333, 0.666666667];
        let [constant, linear, cosine] = [
            [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
            [1.0, 0.961939766, 0.853553391, 0.691341716, 0.5, 0.308658284, 0.146446609, 0.038060234],
        ];
        for (name, fall) in [("constant", constant), ("linear", linear), ("cosine", cosine)] {
            let schedule: Schedule = name.parse().expect("known");
            for (step, want) in rise.into_iter().chain(fall).enumerate() {
                let got = schedule.share(step, 3, 11);
                assert!((got - want).abs() < 1e-9, "{name}, step {step}: {got}, expected {want}");
            }
            // Without warm-up, from the first step on; a step past the end learns nothing more.
            let whole = [0, 8].map(|step| schedule.share(step, 0, 8));
            assert_eq!(whole, [1.0, if schedule == Schedule::Constant { 1.0 } else { 0.0 }], "{name}");
        }
    }

    #[test]
    fn a_training_that_is_all_warm_up_only_rises() {
        assert_eq!(
            [0, 1, 2, 3, 4].map(|step| Schedule::Linear.share(step, 4, 2)),
            [0.0, 0.25, 0.5, 0.75, 1.0]
        );
    }

    #[test]
    fn another_name_is_refused() {
        let error = "cosin".parse::<Schedule>().expect_err("unknown");
        assert_eq!(error.to_string(), "schedule `cosin`, expected constant, linear or cosine");
    }
}
