//! Twin of `shaders/cross_entropy.wgsl`.

use super::attention::capped_slope;
use crate::control::{INACTIVE, Row, Target, Training};

/// loss[pos[n]] = −ln softmax(logits[n])[token] of targets[pos[n]], and with `gradient` logits[n] ←
/// (softmax(logits[n]) − onehot(token)) · weight · loss_weight · scale · capped'(logits[n]); both 0 where there is no
/// token
///
/// rows (N, 4), targets (S), logits (N, V) -> loss (S) in nats, without the weight. A row that takes no part has no
/// token, and no loss.
pub(crate) fn cross_entropy(
    training: &Training,
    rows: &[Row],
    targets: &[Target],
    logits: &mut [f32],
    v: usize,
    [scale, cap]: [f32; 2],
    gradient: bool,
    loss: &mut [f32],
) {
    for (row, logits) in rows.iter().zip(logits.chunks_exact_mut(v)) {
        let Some(Target { token, weight }) = row.target(targets) else {
            if gradient {
                logits.fill(0.0);
            }
            if row.slot != INACTIVE {
                loss[row.pos as usize] = 0.0;
            }
            continue;
        };
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
        let log_sum = f64::from(most) + sum.ln();
        loss[row.pos as usize] = (log_sum - f64::from(logits[token as usize])) as f32;
        let factor = f64::from(training.loss_weight) * f64::from(weight);
        for (i, logit) in logits.iter_mut().enumerate().filter(|_| gradient) {
            let wanted = if i == token as usize { 1.0 } else { 0.0 };
            let slope = f64::from(scale) * capped_slope(f64::from(*logit), f64::from(cap));
            *logit = (((f64::from(*logit) - log_sum).exp() - wanted) * slope * factor) as f32;
        }
    }
}
