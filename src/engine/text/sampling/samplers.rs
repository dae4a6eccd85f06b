//! What a request may ask of the draw beside what the device knows: names, neutral values, ranges.
//! Not what each does: that is said in the file of its name.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Options of the host's samplers, named as OpenAI and llama.cpp's server name them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Samplers {
    /// Taken off the logit of each token that was drawn before, −2 to 2; 0 is off.
    pub presence_penalty: f32,
    /// The same for each time it was drawn.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens, −100 to 100 each.
    pub logit_bias: Vec<(u32, f32)>,
    /// No run of so many tokens comes twice; 0 is off.
    pub no_repeat_ngram_size: u32,
    /// Keep the tokens of the most usual surprise that together reach this; 1 keeps all.
    pub typical_p: f32,
    /// Keep logits within so many standard deviations of the largest; 0 or less keeps all.
    pub top_n_sigma: f32,
    /// Scale of DRY's penalty; 0 is off.
    pub dry_multiplier: f32,
    /// How it grows with each token of a repetition, at least 1.
    pub dry_base: f32,
    /// Longest repetition without penalty, at least 1.
    pub dry_allowed_length: u32,
    /// How many of the newest tokens are looked at; −1 is all.
    pub dry_penalty_last_n: i32,
    /// No repetition goes on over one of these.
    pub dry_sequence_breakers: Vec<String>,
    /// How often XTC takes the likeliest tokens away, 0 to 1; 0 is off.
    pub xtc_probability: f32,
    /// Tokens at least so likely count as its likeliest; above 0.5 is off.
    pub xtc_threshold: f32,
    /// 2 is mirostat 2.0; 0 is off.
    pub mirostat: u32,
    /// The surprise it steers to, in bits.
    pub mirostat_tau: f32,
    /// Its rate of learning.
    pub mirostat_eta: f32,
    /// Temperature goes from `temperature` − this to `temperature` + this; 0 is off.
    pub dynatemp_range: f32,
    /// Exponent of the entropy's share.
    pub dynatemp_exponent: f32,
}

impl Default for Samplers {
    /// All off; what is beside them as llama.cpp has it.
    fn default() -> Self {
        Self {
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            no_repeat_ngram_size: 0,
            typical_p: 1.0,
            top_n_sigma: -1.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: -1,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
        }
    }
}

impl Samplers {
    /// Whether any is on.
    pub(crate) fn are_on(&self) -> bool {
        let has_penalty = self.presence_penalty != 0.0 || self.frequency_penalty != 0.0;
        let has_bias = !self.logit_bias.is_empty() || self.no_repeat_ngram_size > 0;
        let filters = self.typical_p < 1.0 || self.top_n_sigma > 0.0 || self.xtc_probability > 0.0;
        has_penalty
            || has_bias
            || filters
            || self.dry_multiplier > 0.0
            || self.mirostat > 0
            || self.dynatemp_range > 0.0
    }

    /// Whether all are in range, for a vocabulary of `v` tokens. `filters` tells whether the request asks for
    /// one of the device's filters.
    ///
    /// Errors with `Argument` naming the option, its value, and what was expected.
    pub(crate) fn check(&self, v: usize, filters: bool) -> Result<()> {
        let range = |name: &str, value: f32, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let two = -2.0..=2.0;
        range("presence_penalty", self.presence_penalty, two.contains(&self.presence_penalty), "-2 to 2")?;
        range("frequency_penalty", self.frequency_penalty, two.contains(&self.frequency_penalty), "-2 to 2")?;
        for &(token, bias) in &self.logit_bias {
            if token as usize >= v {
                return Err(Error::argument(format!(
                    "logit_bias: token id {token}, expected below the vocabulary size {v}"
                )));
            }
            range(&format!("logit_bias of {token}:"), bias, (-100.0..=100.0).contains(&bias), "-100 to 100")?;
        }
        let p = self.typical_p;
        range("typical_p", p, p > 0.0 && p <= 1.0, "above 0, at most 1")?;
        range(
            "top_n_sigma",
            self.top_n_sigma,
            self.top_n_sigma.is_finite(),
            "a number of standard deviations",
        )?;
        let positive =
            |name: &str, value: f32| range(name, value, value.is_finite() && value >= 0.0, "0 or more");
        positive("dry_multiplier", self.dry_multiplier)?;
        range("dry_base", self.dry_base, self.dry_base.is_finite() && self.dry_base >= 1.0, "1 or more")?;
        if self.dry_allowed_length == 0 {
            return Err(Error::argument("dry_allowed_length 0, expected at least 1"));
        }
        if self.dry_penalty_last_n < -1 {
            let n = self.dry_penalty_last_n;
            return Err(Error::argument(format!("dry_penalty_last_n {n}, expected -1 (all) or more")));
        }
        range(
            "xtc_probability",
            self.xtc_probability,
            (0.0..=1.0).contains(&self.xtc_probability),
            "0 to 1",
        )?;
        range("xtc_threshold", self.xtc_threshold, (0.0..=1.0).contains(&self.xtc_threshold), "0 to 1")?;
        if !matches!(self.mirostat, 0 | 2) {
            return Err(Error::argument(format!("mirostat {}, expected 0 (off) or 2", self.mirostat)));
        }
        positive("mirostat_tau", self.mirostat_tau)?;
        positive("mirostat_eta", self.mirostat_eta)?;
        positive("dynatemp_range", self.dynatemp_range)?;
        positive("dynatemp_exponent", self.dynatemp_exponent)?;
        let filters = filters || self.typical_p < 1.0 || self.top_n_sigma > 0.0 || self.xtc_probability > 0.0;
        if self.mirostat > 0 && filters {
            return Err(Error::argument(
                "mirostat 2 and another filter, expected one of them: it chooses itself how many tokens are kept",
            ));
        }
        Ok(())
    }
}
