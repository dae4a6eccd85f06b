//! Twin of `shaders/cross_entropy.wgsl`.

use super::attention::capped_slope;
use crate::control::{INACTIVE, Training};

/// logits[n] ← (softmax(logits[n]) − onehot(targets[n])) · loss_weight · scale · capped'(logits[n]), and
/// loss[n] = −ln softmax(logits[n])[targets[n]]; both 0 where there is no target
///
/// targets (N), logits (N, V) -> loss (N) in nats, without the weight.
pub(crate) fn cross_entropy(
    training: &Training,
    targets: &[u32],
    logits: &mut [f32],
    v: usize,
    [scale, cap]: [f32; 2],
    loss: &mut [f32],
) {
    for ((&target, logits), loss) in targets.iter().zip(logits.chunks_exact_mut(v)).zip(loss) {
        if target == INACTIVE {
            logits.fill(0.0);
            *loss = 0.0;
            continue;
        }
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
        let log_sum = f64::from(most) + sum.ln();
        *loss = (log_sum - f64::from(logits[target as usize])) as f32;
        for (i, logit) in logits.iter_mut().enumerate() {
            let wanted = if i == target as usize { 1.0 } else { 0.0 };
            let slope = f64::from(scale) * capped_slope(f64::from(*logit), f64::from(cap));
            let gradient = ((f64::from(*logit) - log_sum).exp() - wanted) * slope;
            *logit = (gradient * f64::from(training.loss_weight)) as f32;
        }
    }
}
