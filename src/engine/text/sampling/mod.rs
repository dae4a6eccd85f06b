//! The host's draw: the samplers that the device's `sample` does not know, and those it knows, in one order.
//! Requests that ask for none of the former never come here.
//!
//! The order: mask, logit bias, penalties (repetition, presence, frequency), no-repeat n-gram, DRY, top-n-sigma,
//! temperature, top-k, typical-p, top-p, min-p, XTC, dynamic temperature, draw. It is llama.cpp's default but for
//! temperature, which stands before the filters as on the device and in transformers: an option that is added to a
//! request does not change what the others mean. With mirostat: temperature, mirostat, draw.

mod dry;
mod filters;
mod logits;
mod mirostat;
mod no_repeat_ngram;
mod penalties;
pub(in crate::engine) mod samplers;
mod temperature;
mod xtc;

use crate::error::{Error, Result};
use crate::noise::{gumbel, uniform};
use crate::plan::{ABSENT, Sampling};
use crate::tokenizer::Tokenizer;

use logits::{OUT, largest};
use samplers::Samplers;

/// The samplers of a text, and what they remember of it.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    samplers: Samplers,
    /// How often each token was drawn.
    counts: Vec<(u32, u32)>,
    /// Mirostat's μ.
    mu: f32,
}

/// A text as its next token's samplers see it.
pub(super) struct Place<'a> {
    /// Which tokens may come, as bits; `None` is all.
    pub(super) mask: Option<&'a [u32]>,
    /// Tokens of prompt and text, as bits.
    pub(super) seen: &'a [u32],
    /// Tokens of prompt and text.
    pub(super) tokens: &'a [u32],
    /// The position of the next token.
    pub(super) pos: u32,
}

impl Chain {
    /// Of a text before its first token.
    pub(super) fn new(samplers: &Samplers) -> Self {
        Self { mu: 2.0 * samplers.mirostat_tau, samplers: samplers.clone(), counts: Vec::new() }
    }

    /// Notes a token of the text.
    pub(super) fn accept(&mut self, token: u32) {
        match self.counts.iter_mut().find(|(known, _)| *known == token) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((token, 1)),
        }
    }

    /// Draws the next token from `logits` (V), which are then what was drawn from.
    ///
    /// Errors with `Argument` if nothing is left to draw.
    pub(super) fn draw(
        &mut self,
        logits: &mut [f32],
        with: &Sampling,
        place: &Place<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<u32> {
        self.penalise(logits, with, place, tokenizer)?;
        if largest(logits) == OUT {
            return Err(Error::argument(
                "no token is left to draw: the constraint, `logit_bias` and `no_repeat_ngram_size` forbid all",
            ));
        }
        let of = &self.samplers;
        if with.temperature == 0.0 && of.dynatemp_range == 0.0 {
            return Ok(best(logits, |_| 0.0));
        }
        self.filter(logits, with, place.pos);
        let token = best(logits, |token| gumbel(with.seed, place.pos, token));
        let of = &self.samplers;
        if of.mirostat == 2 {
            self.mu = mirostat::steer(self.mu, logits, token as usize, of.mirostat_tau, of.mirostat_eta);
        }
        Ok(token)
    }

    /// What changes single logits.
    fn penalise(
        &self,
        logits: &mut [f32],
        with: &Sampling,
        place: &Place<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        let (of, Place { mask, seen, tokens, .. }) = (&self.samplers, place);
        if let Some(mask) = mask {
            for (t, logit) in logits.iter_mut().enumerate() {
                if mask[t / 32] >> (t % 32) & 1 == 0 {
                    *logit = OUT;
                }
            }
        }
        penalties::bias(logits, &of.logit_bias);
        penalties::repetition(logits, seen, with.repetition_penalty);
        penalties::counted(logits, &self.counts, of.presence_penalty, of.frequency_penalty);
        no_repeat_ngram::no_repeat_ngram(logits, tokens, of.no_repeat_ngram_size as usize);
        dry::dry(logits, tokens, of, &|token| tokenizer.token_text(token))
    }

    /// Temperature, and what takes candidates out.
    fn filter(&self, logits: &mut [f32], with: &Sampling, pos: u32) {
        let of = &self.samplers;
        if of.top_n_sigma > 0.0 {
            filters::top_n_sigma(logits, of.top_n_sigma);
        }
        if of.dynatemp_range == 0.0 {
            temperature::temperature(logits, with.temperature);
        }
        if of.mirostat == 2 {
            mirostat::truncate(logits, self.mu);
        }
        if with.top_k > 0 {
            filters::top_k(logits, with.top_k as usize);
        }
        if of.typical_p < 1.0 {
            filters::typical_p(logits, of.typical_p);
        }
        if with.top_p < 1.0 {
            filters::top_p(logits, with.top_p);
        }
        if with.min_p > 0.0 {
            filters::min_p(logits, with.min_p);
        }
        if of.xtc_probability > 0.0 {
            // No token has this number, so the noise is another than theirs.
            xtc::xtc(logits, uniform(with.seed, pos, ABSENT), of.xtc_probability, of.xtc_threshold);
        }
        if of.dynatemp_range > 0.0 {
            temperature::dynamic(logits, with.temperature, of.dynatemp_range, of.dynatemp_exponent);
        }
    }
}

/// The token of the largest logit + noise among the candidates, the first of equals.
fn best(logits: &[f32], noise: impl Fn(u32) -> f32) -> u32 {
    let mut top = (ABSENT, OUT);
    for (token, &logit) in (0u32..).zip(logits) {
        if logit != OUT {
            let noisy = logit + noise(token);
            if noisy > top.1 || top.0 == ABSENT {
                top = (token, noisy);
            }
        }
    }
    top.0
}

#[cfg(test)]
mod tests;
