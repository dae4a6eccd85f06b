//! Filters: each takes candidates out by one number, and never the likeliest; what ties with the last kept is kept.
//! Not `xtc`, which takes the likeliest, nor `mirostat`, which has a memory.

use super::logits::{OUT, count, keep_from, largest, probabilities, reach};

/// Keeps logits ≥ max − n·σ, σ the standard deviation of all candidates' logits (arXiv:2411.07641).
pub(super) fn top_n_sigma(logits: &mut [f32], n: f32) {
    let candidates = || logits.iter().filter(|l| **l != OUT).map(|l| f64::from(*l));
    let number = candidates().count() as f64;
    let mean = candidates().sum::<f64>() / number;
    let variance = candidates().map(|l| (l - mean) * (l - mean)).sum::<f64>() / number;
    let least = f64::from(largest(logits)) - f64::from(n) * variance.sqrt();
    logits.iter_mut().filter(|l| f64::from(**l) < least).for_each(|l| *l = OUT);
}

/// Keeps the k likeliest.
pub(super) fn top_k(logits: &mut [f32], k: usize) {
    if k < count(logits) {
        let least = reach(logits, &|_| 1.0, k as f64);
        logits.iter_mut().filter(|l| **l < least).for_each(|l| *l = OUT);
    }
}

/// Keeps the likeliest that together reach p (arXiv:1904.09751).
pub(super) fn top_p(logits: &mut [f32], p: f32) {
    let probabilities = probabilities(logits);
    let least = reach(logits, &|t| probabilities[t], f64::from(p));
    logits.iter_mut().filter(|l| **l < least).for_each(|l| *l = OUT);
}

/// Keeps those at least min_p times as likely as the likeliest (arXiv:2407.01082).
pub(super) fn min_p(logits: &mut [f32], p: f32) {
    let least = largest(logits) + p.ln();
    logits.iter_mut().filter(|l| **l < least).for_each(|l| *l = OUT);
}

/// Keeps those whose surprise −ln p is nearest to its mean, the entropy H, until they reach p (arXiv:2202.00666).
pub(super) fn typical_p(logits: &mut [f32], p: f32) {
    let probabilities = probabilities(logits);
    let surprise = |p: f64| if p > 0.0 { -p.ln() } else { 0.0 };
    let entropy: f64 = probabilities.iter().map(|&p| p * surprise(p)).sum();
    // −|−ln p − H|
    let nearness = |p: &f64| if *p > 0.0 { -(surprise(*p) - entropy).abs() as f32 } else { OUT };
    let nearness: Vec<f32> = probabilities.iter().map(nearness).collect();
    let least = reach(&nearness, &|t| probabilities[t], f64::from(p));
    keep_from(logits, &nearness, least);
}
