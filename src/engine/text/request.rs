//! What a request for text asks, and what it is given: options, pieces of text, counts.
//! Not how the text comes about, nor JavaScript's names of the options.

use crate::engine::adapters::loaded::Choice;
use crate::engine::text::logprobs::TokenLogprobs;
use crate::engine::text::sampling::samplers::Samplers;
use crate::error::{Error, Result};
use crate::plan::Sampling;
use crate::words::words;

/// What happens when a sequence fills the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// A request that cannot fit is refused; one without `max_tokens` ends with `Length`.
    #[default]
    Error,
    /// The first 4 and the newest half of the tokens are kept and recomputed.
    Slide,
}

words!(Overflow, "overflow", ["error" => Self::Error, "slide" => Self::Slide]);

/// One prompt and how to continue it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to draw; by default until the context is full.
    pub max_tokens: Option<usize>,
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the most probable tokens that together reach this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens below this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Over 1, tokens of the prompt and text so far become less probable.
    pub repetition_penalty: f32,
    /// What the host is to do beside: with any of them a token costs a read of its logits.
    pub samplers: Samplers,
    /// The same seed draws the same text on one device.
    pub seed: u32,
    /// The text ends before any of these.
    pub stop: Vec<String>,
    /// The text ends before any of these tokens, as before the model's own end tokens.
    pub stop_tokens: Vec<u32>,
    /// Special tokens that are part of the text, which shows no other.
    pub shown_tokens: Vec<String>,
    /// Tell the log probability of each token, and of this many of the likeliest at its place.
    pub logprobs: Option<usize>,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// Adapters and their weights; empty is the base, `None` what the engine is set to.
    pub adapter: Option<Choice>,
}

impl Default for Request {
    /// Draws from the whole distribution as it is. The prompt is left to fill in.
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            max_tokens: None,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            samplers: Samplers::default(),
            seed: 0,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            shown_tokens: Vec::new(),
            logprobs: None,
            overflow: Overflow::default(),
            adapter: None,
        }
    }
}

impl Request {
    /// Greedy continuation of `prompt`.
    pub fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Self {
        Self { prompt, max_tokens: Some(max_tokens), temperature: 0.0, ..Self::default() }
    }

    /// Whether the options are in range for a vocabulary of `v` tokens, and the text fits a context that holds
    /// `lead` virtual tokens too.
    pub(crate) fn check(&self, v: usize, context: usize, lead: usize) -> Result<()> {
        let range = |name: &str, value: f32, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let t = self.temperature;
        range("temperature", t, t.is_finite() && t >= 0.0, "0 or more")?;
        range("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1")?;
        range("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1")?;
        let penalty = self.repetition_penalty;
        range("repetition_penalty", penalty, penalty.is_finite() && penalty > 0.0, "above 0")?;
        self.samplers.check(v, self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0)?;
        let (prompt, most) = (self.prompt.len(), self.max_tokens.unwrap_or(1));
        if prompt == 0 {
            return Err(Error::argument("prompt: no tokens"));
        }
        if self.max_tokens == Some(0) {
            return Err(Error::argument("max_tokens 0, expected at least 1"));
        }
        // The last token drawn needs no room: nothing is computed from it.
        let slides = self.overflow == Overflow::Slide;
        if lead + prompt > context || (!slides && lead + prompt + most - 1 > context) {
            let with = if lead > 0 { format!(" with {lead} virtual tokens") } else { String::new() };
            if slides {
                return Err(Error::argument(format!(
                    "prompt of {prompt} tokens{with} exceeds the context of {context}: `overflow` slide makes room for what is written, a prompt has to fit"
                )));
            }
            return Err(Error::argument(format!(
                "prompt of {prompt} tokens{with} and max_tokens {most} exceed the context of {context}"
            )));
        }
        Ok(())
    }

    /// `ends` are the tokens that end the text: the device knows the first few, where it saves work.
    pub(crate) fn sampling(&self, ends: &[u32]) -> Sampling {
        let mut stop = [0; 4];
        let n_stop = ends.len().min(stop.len());
        stop[..n_stop].copy_from_slice(&ends[..n_stop]);
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            top_k: self.top_k,
            seed: self.seed,
            n_stop: n_stop as u32,
            padding: 0,
            stop,
        }
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model drew an end token, or a stop string came.
    Stop,
    /// `max_tokens` were drawn, or the context is full.
    Length,
}

impl Finish {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Tokens counted for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of those, taken from the cache.
    pub cached_tokens: usize,
    /// Drawn, the end token apart.
    pub completion_tokens: usize,
}

/// What one request gained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Which request.
    pub index: usize,
    /// New text, whole characters.
    pub text: String,
    /// New tokens.
    pub tokens: Vec<u32>,
    /// One for each of the tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Set on the last delta of a request.
    pub finish: Option<Finish>,
}
