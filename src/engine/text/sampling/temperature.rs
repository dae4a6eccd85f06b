//! Temperature, fixed and by entropy.
//! Not mirostat, which steers the surprise of the text.

use super::logits::{count, largest, probabilities};

/// logit / T
pub(super) fn temperature(logits: &mut [f32], t: f32) {
    // Any number may be taken off all logits: of a T so small that a quotient is none, the largest.
    let top = largest(logits);
    let shift = if (top / t).is_finite() { 0.0 } else { top };
    logits.iter_mut().for_each(|l| *l = (*l - shift) / t);
}

/// T = T₀ + (T₁ − T₀)·(H / ln n)^exponent, H the entropy of the n candidates, T₀ = max(0, t − range), T₁ = t + range
/// (llama.cpp's `llama_sampler_temp_ext`). At T = 0 only the likeliest stay.
pub(super) fn dynamic(logits: &mut [f32], t: f32, range: f32, exponent: f32) {
    let n = count(logits);
    if n < 2 {
        return;
    }
    let entropy = -probabilities(logits).iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
    let share = (entropy / (n as f64).ln()).clamp(0.0, 1.0).powf(f64::from(exponent));
    let [least, most] = [(t - range).max(0.0), t + range];
    let t = (f64::from(least) + f64::from(most - least) * share) as f32;
    let top = largest(logits);
    // Of differences: 0 / 0 apart they are numbers, or −∞.
    logits.iter_mut().for_each(|l| *l = if *l == top { 0.0 } else { (*l - top) / t });
}
