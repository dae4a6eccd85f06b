//! How an adapter is taught, and the defaults of it, which every face of the program shares.
//! Not what it is taught: that is a dataset.

use crate::order::sort_by_key;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::words::Words;

use crate::engine::adapters::loaded::Choice;
use crate::engine::adapters::new_lora::NewLora;
use crate::engine::training::optimizer::Optimizer;
use crate::engine::training::schedule::Schedule;
use crate::model::Variant;

/// How an adapter is taught.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// The adapter's name.
    pub name: String,
    /// What of a new adapter is trained.
    pub variant: Variant,
    /// R of a new adapter; 8.
    pub rank: Option<usize>,
    /// Numerator of the scale alpha / R of a new adapter; twice the rank.
    pub alpha: Option<f64>,
    /// Ends of the names of the modules to adapt; empty is every linear map but the head.
    pub target_modules: Option<Vec<String>>,
    /// How often the dataset is gone through.
    pub epochs: usize,
    /// AdamW's, at its highest.
    pub learning_rate: f64,
    /// How it falls once it is warm.
    pub schedule: Schedule,
    /// Steps over which it rises first, from 0.
    pub warmup_steps: usize,
    /// Windows of a step.
    pub batch: usize,
    /// Most tokens of a window; 256, or the context if that is less.
    pub max_length: Option<usize>,
    /// Steps after which it ends, if the epochs have more.
    pub max_steps: Option<usize>,
    /// Most bytes of all the engine's tensors meanwhile; `None` is what the device can address.
    pub memory_limit: Option<u64>,
    /// Whether examples teach their completions, and conversations their answers, alone; they do.
    pub completion_only: Option<bool>,
    /// Probability of an element of a LoRA's input to be dropped.
    pub dropout: f64,
    /// AdamW's.
    pub weight_decay: f64,
    /// Of the first numbers, the order of the windows and the dropout.
    pub seed: u32,
    /// Whether to go on with an adapter of that name if there is one.
    pub resume: bool,
    /// Steps between two checkpoints, if any are kept.
    pub checkpoint_every: Option<usize>,
    /// Other adapters at work meanwhile.
    pub beside: Choice,
}

/// What an adapter's numbers depend on beside the dataset and its order: a checkpoint of other options is of
/// another training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    rank: usize,
    alpha: f64,
    target_modules: Vec<String>,
    learning_rate: f64,
    schedule: String,
    warmup_steps: usize,
    dropout: f64,
    weight_decay: f64,
}

impl TrainOptions {
    /// The defaults, for an adapter of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            variant: Variant::default(),
            rank: None,
            alpha: None,
            target_modules: None,
            epochs: 3,
            learning_rate: 1e-3,
            schedule: Schedule::default(),
            warmup_steps: 0,
            batch: 1,
            max_length: None,
            max_steps: None,
            memory_limit: None,
            completion_only: None,
            dropout: 0.0,
            weight_decay: 0.0,
            seed: 0,
            resume: false,
            checkpoint_every: None,
            beside: Choice::new(),
        }
    }

    /// Errors with `Argument` for an option out of range.
    pub(super) fn check(&self, context: usize) -> Result<()> {
        let range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let (rate, decay) = (self.learning_rate, self.weight_decay);
        range("learningRate", rate, (0.0..=1.0).contains(&rate), "0 to 1")?;
        range("dropout", self.dropout, (0.0..1.0).contains(&self.dropout), "0 to below 1")?;
        range("weightDecay", decay, decay.is_finite() && decay >= 0.0, "0 or more")?;
        for (name, n) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("checkpointEvery", self.checkpoint_every.unwrap_or(1)),
            ("maxSteps", self.max_steps.unwrap_or(1)),
        ] {
            range(name, n as f64, n > 0, "at least 1")?;
        }
        let most = self.window(context);
        if most < 2 || most > context {
            return Err(Error::argument(format!("maxLength {most}, expected 2 to {context}, the context")));
        }
        // What is kept is an ordinary LoRA, and would be trained as one.
        if self.checkpoint_every.is_some() && self.variant != Variant::Lora {
            return Err(Error::argument(
                "variant \"lora-xs\", expected lora with a checkpoint, which keeps no core",
            ));
        }
        Ok(())
    }

    /// Most tokens of a window, in an engine of this context.
    pub(super) fn window(&self, context: usize) -> usize {
        self.max_length.unwrap_or(context.min(256))
    }

    /// The adapter, if it is to be made.
    pub(super) fn lora(&self) -> NewLora {
        let rank = self.rank.unwrap_or(8);
        NewLora {
            variant: self.variant,
            rank,
            alpha: self.alpha.unwrap_or(2.0 * rank as f64),
            target_modules: self.target_modules.clone().unwrap_or_default(),
            seed: self.seed,
        }
    }

    pub(super) fn optimizer(&self) -> Optimizer {
        let (dropout, weight_decay) = (self.dropout as f32, self.weight_decay as f32);
        Optimizer { dropout, weight_decay, seed: self.seed, ..Optimizer::default() }
    }

    /// The adapters at work: the one that is trained, and those beside it.
    pub(super) fn choice(&self) -> Choice {
        let mut choice = self.beside.clone();
        choice.push((self.name.clone(), 1.0));
        choice
    }

    pub(super) fn kept(&self) -> Kept {
        let NewLora { rank, alpha, mut target_modules, .. } = self.lora();
        sort_by_key(&mut target_modules, String::clone);
        Kept {
            rank,
            alpha,
            target_modules,
            learning_rate: self.learning_rate,
            schedule: self.schedule.word().to_owned(),
            warmup_steps: self.warmup_steps,
            dropout: self.dropout,
            weight_decay: self.weight_decay,
        }
    }
}

impl Kept {
    /// The first option in which the two differ: its name, and both values.
    pub(super) fn difference(&self, other: &Self) -> Option<(&'static str, [String; 2])> {
        let values = |kept: &Self| {
            let Self {
                rank,
                alpha,
                target_modules,
                learning_rate,
                schedule,
                warmup_steps,
                dropout,
                weight_decay,
            } = kept.clone();
            [
                ("rank", rank.to_string()),
                ("alpha", alpha.to_string()),
                ("targetModules", format!("{target_modules:?}")),
                ("learningRate", learning_rate.to_string()),
                ("schedule", format!("{schedule:?}")),
                ("warmupSteps", warmup_steps.to_string()),
                ("dropout", dropout.to_string()),
                ("weightDecay", weight_decay.to_string()),
            ]
        };
        let mut both = values(self).into_iter().zip(values(other));
        both.find(|(own, other)| own != other).map(|((name, own), (_, other))| (name, [own, other]))
    }
}
