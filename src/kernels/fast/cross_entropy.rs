//! Fast [`cross_entropy`](crate::twin::cross_entropy): one f32 exponential per logit.

use super::lanes::{EXP, capped_slope, largest};
use crate::control::{INACTIVE, Training};
use crate::pool::{Pool, Shared};

/// logits[n] ← (softmax(logits[n]) − onehot(targets[n])) · loss_weight · slope, and the loss; see
/// the twin.
pub(crate) fn cross_entropy(
    pool: &Pool,
    training: &Training,
    targets: &[u32],
    logits: &mut [f32],
    v: usize,
    [scale, cap]: [f32; 2],
    loss: &mut [f32],
) {
    let (n, loss) = (targets.len(), Shared::new(loss));
    pool.split_rows(&mut logits[..n * v], v, EXP * n * v, |part, logits| {
        // SAFETY: parts have different rows.
        let loss = unsafe { loss.slice(part.start, part.len()) };
        rows(training.loss_weight, &targets[part], logits, v, [scale, cap], loss);
    });
}

fn rows(
    weight: f32,
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
        let most = largest(logits);
        let wanted = logits[target as usize] - most;
        let slope_of = |logit: f32| scale * capped_slope(logit, cap);
        let slope = slope_of(logits[target as usize]);
        // A vocabulary's worth of f32 additions would lose digits.
        let mut sum = 0.0f64;
        for logit in logits.iter_mut() {
            let exp = (*logit - most).exp();
            sum += f64::from(exp);
            *logit = exp * slope_of(*logit);
        }
        *loss = sum.ln() as f32 - wanted;
        let factor = (f64::from(weight) / sum) as f32;
        logits.iter_mut().for_each(|logit| *logit *= factor);
        logits[target as usize] -= weight * slope;
    }
}
