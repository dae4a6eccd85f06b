//! No run of n tokens comes twice (transformers' `NoRepeatNGramLogitsProcessor`).
//! Not a penalty that grows: `dry`.

use super::logits::OUT;

/// Takes out every token that would complete a run of `n` tokens that is in `tokens` already.
pub(super) fn no_repeat_ngram(logits: &mut [f32], tokens: &[u32], n: usize) {
    if n == 0 || tokens.len() + 1 < n {
        return;
    }
    let newest = &tokens[tokens.len() + 1 - n..];
    for run in tokens.windows(n) {
        if run[..n - 1] == *newest {
            logits[run[n - 1] as usize] = OUT;
        }
    }
}
