//! Penalties on tokens for having come before, and biases that a request gives.
//! Not on runs of tokens: `dry`, `no_repeat_ngram`.

/// logit / r where positive, logit · r where negative, of tokens in `seen` (bits): arXiv:1909.05858.
pub(super) fn repetition(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    for (t, logit) in logits.iter_mut().enumerate() {
        if seen[t / 32] >> (t % 32) & 1 == 1 {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

/// logit − count · frequency − presence, of tokens drawn so far, each with its count
/// (OpenAI's API reference, "Frequency and presence penalties").
pub(super) fn counted(logits: &mut [f32], counts: &[(u32, u32)], presence: f32, frequency: f32) {
    for &(token, count) in counts {
        logits[token as usize] -= count as f32 * frequency + presence;
    }
}

/// logit + bias.
pub(super) fn bias(logits: &mut [f32], biases: &[(u32, f32)]) {
    for &(token, bias) in biases {
        logits[token as usize] += bias;
    }
}
