//! XTC: at times all of the likeliest tokens but the least likely of them are taken out.
//! As llama.cpp's `llama_sampler_xtc` after p-e-w's proposal (oobabooga/text-generation-webui#6335).

use super::logits::{OUT, probabilities};

/// With `probability`, which a `uniform` number in (0, 1) decides, of the tokens with p ≥ threshold, if they are two or
/// more, only the least likely stays; of equals all but one go, too.
pub(super) fn xtc(logits: &mut [f32], uniform: f32, probability: f32, threshold: f32) {
    if uniform >= probability || threshold > 0.5 {
        return;
    }
    let probabilities = probabilities(logits);
    let top = |t: &usize| probabilities[*t] >= f64::from(threshold) && logits[*t] != OUT;
    let top: Vec<usize> = (0..logits.len()).filter(top).collect();
    let last = top.iter().copied().reduce(|a, b| if logits[b] <= logits[a] { b } else { a });
    top.into_iter().filter(|t| Some(*t) != last).for_each(|t| logits[t] = OUT);
}
