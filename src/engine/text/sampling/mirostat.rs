//! Mirostat 2.0: keeps what is less surprising than μ, and moves μ so that the text's surprise comes to τ
//! (arXiv:2007.14966, algorithm 2). No other filter stands beside it.

use super::logits::{OUT, largest, probabilities};

/// Takes out candidates with −log₂ p > μ, but not the likeliest.
pub(super) fn truncate(logits: &mut [f32], mu: f32) {
    let (probabilities, most) = (probabilities(logits), largest(logits));
    for (logit, p) in logits.iter_mut().zip(probabilities) {
        if -p.log2() > f64::from(mu) && *logit < most {
            *logit = OUT;
        }
    }
}

/// μ − η·(surprise − τ), the surprise being −log₂ p of the token drawn among those that were kept.
pub(super) fn steer(mu: f32, logits: &[f32], token: usize, tau: f32, eta: f32) -> f32 {
    let surprise = -probabilities(logits)[token].log2() as f32;
    mu - eta * (surprise - tau)
}
