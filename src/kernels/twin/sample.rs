//! Twin of `shaders/sample.wgsl`.

use crate::control::{ABSENT, INACTIVE, RING, Row, Sampling};
use crate::noise::gumbel;

/// Draws the next token of every active row, notes it in `seen` and `ring`, and moves the row
/// one position on; a stop token makes the row inactive. So do logits that nothing
/// [`can be drawn`](can_draw) from: `ring` then holds [`ABSENT`], `seen` and the row's token stay.
///
/// logits (N, V), sampling (slots), seen (slots, ⌈V/32⌉) bits, rows (N), ring (slots, RING).
pub(crate) fn sample(
    logits: &[f32],
    sampling: &[Sampling],
    seen: &mut [u32],
    rows: &mut [Row],
    ring: &mut [u32],
) {
    let v = logits.len() / rows.len();
    let words = v.div_ceil(32);
    for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(v)) {
        if row.slot == INACTIVE {
            continue;
        }
        let slot = row.slot as usize;
        let options = &sampling[slot];
        let seen = &mut seen[slot * words..][..words];
        row.pos += 1;
        let place = &mut ring[slot * RING + row.pos as usize % RING];
        if !can_draw(logits) {
            *place = ABSENT;
            row.slot = INACTIVE;
            continue;
        }
        let token = draw(logits, options, seen, row.pos);
        seen[token / 32] |= 1 << (token % 32);
        row.token = token as u32;
        *place = row.token;
        if options.stop[..options.n_stop as usize].contains(&row.token) {
            row.slot = INACTIVE;
        }
    }
}

/// Whether logits are a distribution: none is NaN or +∞, and not all are −∞.
pub(crate) fn can_draw(logits: &[f32]) -> bool {
    let wrong = |l: &f32| l.is_nan() || *l == f32::INFINITY;
    !logits.iter().any(wrong) && logits.iter().any(|l| l.is_finite())
}

/// The token at position `pos`: the best of score + noise among those the filters keep.
///
/// Adding Gumbel noise and taking the best draws from the softmax of the scores exactly.
fn draw(logits: &[f32], options: &Sampling, seen: &[u32], pos: u32) -> usize {
    let scores = scores(logits, options, seen);
    if options.temperature == 0.0 {
        return best(scores.iter().copied().enumerate());
    }
    let least = threshold(&scores, options);
    let noisy = scores.iter().enumerate().filter(|(_, s)| **s >= least);
    best(noisy.map(|(i, s)| (i, s + gumbel(options.seed, pos, i as u32))))
}

/// Logits after the repetition penalty (arXiv:1909.05858) and the temperature.
pub(crate) fn scores(logits: &[f32], options: &Sampling, seen: &[u32]) -> Vec<f32> {
    let penalty = options.repetition_penalty;
    let temperature = if options.temperature == 0.0 { 1.0 } else { options.temperature };
    let score = |(i, &logit): (usize, &f32)| {
        let penalised = match seen[i / 32] >> (i % 32) & 1 {
            0 => logit,
            _ if logit < 0.0 => logit * penalty,
            _ => logit / penalty,
        };
        penalised / temperature
    };
    logits.iter().enumerate().map(score).collect()
}

/// The least score that top-k, top-p (arXiv:1904.09751) and min-p (arXiv:2407.01082) keep.
/// Tokens that tie with it are kept.
pub(crate) fn threshold(scores: &[f32], options: &Sampling) -> f32 {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let most = sorted[0];
    if options.top_k > 0 && (options.top_k as usize) < sorted.len() {
        let least = sorted[options.top_k as usize - 1];
        sorted.retain(|&s| s >= least);
    }
    if options.top_p < 1.0 {
        let mass = |s: &f32| f64::from(s - most).exp();
        let enough = sorted.iter().map(mass).sum::<f64>() * f64::from(options.top_p);
        let mut above = 0.0;
        let kept = sorted.iter().take_while(|s| {
            let keep = above < enough;
            above += mass(s);
            keep
        });
        let kept = kept.count().max(1);
        sorted.truncate(kept);
    }
    let least = sorted[sorted.len() - 1];
    if options.min_p > 0.0 { least.max(most + options.min_p.ln()) } else { least }
}

/// Index of the largest score, the first of equals.
fn best(scores: impl Iterator<Item = (usize, f32)>) -> usize {
    scores.fold((0, f32::NEG_INFINITY), |top, next| if next.1 > top.1 { next } else { top }).0
}
