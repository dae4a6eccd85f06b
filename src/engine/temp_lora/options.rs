//! How a temporary adapter learns, and the presets.

use crate::error::{Error, Result};
use crate::words::words;

use crate::engine::adapters::loaded::Choice;
use crate::engine::text::generate::MAX_BLOCK;
use crate::engine::training::memory::TrainingRoom;
use crate::model::{Model, Variant};

/// What happens to the keys and values of the text when the adapter has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kv {
    /// They are computed anew from the context before each chunk.
    Recompute,
    /// Those of older versions stay, until the window slides.
    Stale,
    /// They stay, and are computed anew before every n-th chunk.
    ResetEvery(usize),
}

words!(Kv, "kv", ["recompute" => Self::Recompute, "stale" => Self::Stale]);

/// Where options begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The published code's constants.
    Paper,
    /// What measures best on models of a few million parameters.
    Small,
    /// What measures best on models of the size at hand.
    #[default]
    Default,
}

words!(Preset, "preset", ["paper" => Self::Paper, "small" => Self::Small, "default" => Self::Default]);

/// Learning rates by the size of a model: up to so many parameters. Measured at 3 and 135 million
/// (tests/RESULTS.md); those above are the usual ones of LoRA.
const RATES: [(usize, f32); 4] =
    [(30_000_000, 1e-3), (300_000_000, 6e-4), (1_000_000_000, 3e-4), (usize::MAX, 1e-4)];

/// How a temporary adapter learns.
#[derive(Clone, Debug, PartialEq)]
pub struct TempLoraOptions {
    /// Its name in the bank while it lives.
    pub name: String,
    /// What of it is trained.
    pub variant: Variant,
    /// R
    pub rank: usize,
    /// Numerator of the scale alpha / R.
    pub alpha: f64,
    /// Ends of the names of the modules to adapt; empty is every linear map but the head.
    pub target_modules: Vec<String>,
    /// Of A's first numbers and of dropout.
    pub seed: u32,
    /// Probability of an element of a LoRA's input to be dropped, in training.
    pub dropout: f32,
    /// AdamW's, once warm.
    pub learning_rate: f32,
    /// Of the adapter where text is scored or drawn; it learns at 1. Below 1 it is nearer the base, which a fast
    /// learner gains from.
    pub weight: f32,
    /// Chunks until it is warm; chunk t learns at min(1, (t + `warmup_start`) / warmup) of it.
    pub warmup_chunks: usize,
    /// 0 as published, where the first chunk teaches nothing; 1 lets it teach.
    pub warmup_start: usize,
    /// Steps on each chunk.
    pub epochs: usize,
    /// Tokens of a chunk.
    pub chunk_tokens: usize,
    /// Tokens before it, that a chunk is scored, generated and learned under.
    pub context_tokens: usize,
    /// Whether the context's keys and values count as constant in training: about half the work.
    pub constant_context: bool,
    /// In generation.
    pub kv: Kv,
    /// Learn a chunk of generated text while the next one is drawn, in slices between its tokens: the adapter is then
    /// a chunk behind.
    pub overlap: bool,
    /// Undo what the last chunk taught where the next one is scored worse than by the base; each chunk is
    /// scored for it.
    pub roll_back: bool,
    /// How much generated text teaches: this share of the learning rate, 0 to 1.
    pub generated_weight: f32,
    /// Of a lesson on generated text, how much keeps the base's distribution near, 0 to 1: at this share of its places the
    /// model learns what the base would have put there, one token of its distribution, and not the text.
    pub generated_kl: f32,
    /// How many of the steps on each generated chunk, but the first, are on a given one instead, where there is one: what
    /// was given is not forgotten over what the model writes itself.
    pub replay: usize,
    /// Learn nothing from a generated chunk of whose runs of four tokens more than this share
    /// occurred before in it or its context; 1 learns from all.
    pub max_repetition: f32,
    /// Score generated chunks as given ones are: two more passes over each, but for text drawn from the
    /// mix, whose losses are known as it is drawn.
    pub score_generated: bool,
    /// Most bytes of all the engine's tensors while it lives; `None` is what the device can address.
    pub memory_limit: Option<u64>,
    /// Other adapters at work beside it.
    pub beside: Choice,
    /// An adapter to begin as a copy of, instead of doing nothing at first.
    pub warm_start: Option<String>,
}

impl TempLoraOptions {
    /// A preset's options for a model.
    pub fn of(preset: Preset, model: &Model) -> Self {
        match preset {
            Preset::Paper => Self::paper(model.context()),
            Preset::Small => Self::small(model.context()),
            Preset::Default => {
                let parameters = model.weights.parameters();
                let rate = RATES.iter().find(|(most, _)| parameters <= *most).expect("the last has no end").1;
                Self { learning_rate: rate, ..Self::small(model.context()) }
            }
        }
    }

    /// The published code's constants, for an engine of this context: chunks of 1024 tokens after
    /// as many, or half the context each where it has less room.
    pub fn paper(context: usize) -> Self {
        let chunk = (context / 2).min(1024);
        Self {
            name: "temp".to_owned(),
            variant: Variant::Lora,
            rank: 64,
            alpha: 64.0,
            target_modules: Vec::new(),
            seed: 42,
            dropout: 0.05,
            learning_rate: 5e-5,
            weight: 1.0,
            warmup_chunks: 2,
            warmup_start: 0,
            epochs: 2,
            chunk_tokens: chunk,
            context_tokens: chunk,
            constant_context: false,
            kv: Kv::Recompute,
            overlap: false,
            roll_back: false,
            generated_weight: 1.0,
            generated_kl: 0.0,
            replay: 0,
            max_repetition: 1.0,
            score_generated: false,
            memory_limit: None,
            beside: Choice::new(),
            warm_start: None,
        }
    }

    /// What measures best on models of a few million parameters (see tests/RESULTS.md): chunks of 128 tokens
    /// after as many, however much more the engine has room for, no warm-up, no gradient through the context.
    pub fn small(context: usize) -> Self {
        let chunk = (context / 2).min(128);
        Self {
            rank: 32,
            alpha: 32.0,
            dropout: 0.0,
            learning_rate: 1e-3,
            warmup_chunks: 0,
            chunk_tokens: chunk,
            context_tokens: chunk,
            constant_context: true,
            generated_weight: 0.5,
            generated_kl: 0.75,
            replay: 1,
            max_repetition: 0.5,
            ..Self::paper(context)
        }
    }

    /// The adapters under which it learns.
    pub(super) fn taught(&self) -> Choice {
        self.choice(1.0)
    }

    /// Those by which text is scored and drawn.
    pub(super) fn acting(&self) -> Choice {
        self.choice(self.weight)
    }

    fn choice(&self, weight: f32) -> Choice {
        let mut choice = self.beside.clone();
        choice.push((self.name.clone(), weight));
        choice
    }

    /// Whether a text keeps its slot while a chunk of it is learned.
    pub(super) fn keeps_text(&self) -> bool {
        self.overlap || self.kv != Kv::Recompute
    }

    /// What learning takes: a chunk that is drawn may be longer by what one block draws.
    pub(super) fn room(&self) -> TrainingRoom {
        TrainingRoom {
            window: self.context_tokens + self.chunk_tokens + MAX_BLOCK,
            memory_limit: self.memory_limit,
        }
    }

    pub(super) fn check(&self, context: usize) -> Result<()> {
        let range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let rate = f64::from(self.learning_rate);
        range("learningRate", rate, (0.0..=1.0).contains(&rate), "0 to 1")?;
        let weight = self.weight;
        range("weight", f64::from(weight), weight > 0.0 && weight <= 1.0, "above 0, at most 1")?;
        range("dropout", f64::from(self.dropout), (0.0..1.0).contains(&self.dropout), "0 to below 1")?;
        range("chunkTokens", self.chunk_tokens as f64, self.chunk_tokens > 1, "at least 2")?;
        range("contextTokens", self.context_tokens as f64, self.context_tokens > 0, "at least 1")?;
        let generated = self.generated_weight;
        range("generatedWeight", f64::from(generated), (0.0..=1.0).contains(&generated), "0 to 1")?;
        let kl = self.generated_kl;
        range("generatedKl", f64::from(kl), (0.0..=1.0).contains(&kl), "0 to 1")?;
        let repetition = self.max_repetition;
        range("maxRepetition", f64::from(repetition), (0.0..=1.0).contains(&repetition), "0 to 1")?;
        if let (Variant::LoraXs, Some(from)) = (self.variant, &self.warm_start) {
            return Err(Error::argument(format!(
                "variant lora-xs and warmStart `{from}`: an adapter to begin from is trained as it is, leave out one of them"
            )));
        }
        if self.overlap && (self.roll_back || self.score_generated) {
            return Err(Error::argument(
                "overlap beside rollBack or scoreGenerated: they wait for a lesson, leave out one of them",
            ));
        }
        if let Kv::ResetEvery(0) = self.kv {
            return Err(Error::argument("kv.resetEvery 0, expected at least 1"));
        }
        if self.chunk_tokens + self.context_tokens > context {
            return Err(Error::argument(format!(
                "chunkTokens {} and contextTokens {} exceed the context of {context}",
                self.chunk_tokens, self.context_tokens
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::training::optimizer::Optimizer;

    /// The published code's constants, which a preset must not drift from.
    #[test]
    fn the_paper_preset_is_the_papers() {
        let paper = TempLoraOptions::paper(4096);
        assert_eq!((paper.rank, paper.alpha, paper.dropout), (64, 64.0, 0.05));
        assert_eq!((paper.learning_rate, paper.warmup_chunks, paper.warmup_start), (5e-5, 2, 0));
        assert_eq!((paper.epochs, paper.chunk_tokens, paper.constant_context), (2, 1024, false));
        assert!(paper.target_modules.is_empty() && !paper.roll_back && paper.max_repetition == 1.0);
        let Optimizer { betas, eps, weight_decay, max_norm, .. } = Optimizer::default();
        assert_eq!((betas, eps, weight_decay, max_norm), ([0.9, 0.999], 1e-7, 0.0, 1.0));
    }
}
