//! Log probabilities of tokens, from the logits at their place.
//! Of the model's own distribution: before temperature, penalties and filters.

use crate::engine::text::logits::log_sum_exp;

/// How likely a token was, and what else was likely there.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token, nats.
    pub logprob: f32,
    /// The likeliest tokens there, the likeliest first, each with its own.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprobs {
    /// Of `token` and the `top` likeliest, from logits (V). Of equals the first goes first.
    pub(crate) fn of(logits: &[f32], token: u32, top: usize) -> Self {
        let total = log_sum_exp(logits);
        let logprob = |token: u32| (f64::from(logits[token as usize]) - total) as f32;
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        let top = top.min(ids.len());
        if top < ids.len() {
            ids.select_nth_unstable_by(top, by_logit);
            ids.truncate(top);
        }
        ids.sort_unstable_by(by_logit);
        Self { logprob: logprob(token), top: ids.into_iter().map(|id| (id, logprob(id))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::TokenLogprobs;

    #[test]
    fn the_likeliest_come_first_and_add_up() {
        let probabilities = [0.1f32, 0.4, 0.05, 0.4, 0.05];
        let logits = probabilities.map(|p| p.ln() + 7.0);
        let TokenLogprobs { logprob, top } = TokenLogprobs::of(&logits, 2, 3);
        assert!((logprob - 0.05f32.ln()).abs() < 1e-6);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 0]);
        let all = TokenLogprobs::of(&logits, 0, 99).top;
        assert_eq!(all.len(), 5);
        let total: f32 = all.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
        assert_eq!(TokenLogprobs::of(&logits, 1, 0).top, []);
    }
}
