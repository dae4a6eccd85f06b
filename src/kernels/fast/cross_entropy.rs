//! Fast [`cross_entropy`](crate::twin::cross_entropy): one f32 exponential per logit.

use super::lanes::{EXP, capped_slope, largest};
use crate::control::{INACTIVE, Row, Target, Training};
use crate::pool::{Pool, Shared};

/// The loss, and with `gradient` logits[n] ← (softmax(logits[n]) − onehot(token)) · weight · loss_weight · slope; see
/// the twin.
pub(crate) fn cross_entropy(
    pool: &Pool,
    training: &Training,
    rows: &[Row],
    targets: &[Target],
    logits: &mut [f32],
    v: usize,
    [scale, cap]: [f32; 2],
    gradient: bool,
    loss: &mut [f32],
) {
    // By rows first: positions may repeat.
    let n = rows.len();
    let mut of_rows = vec![0.0; n];
    let losses = Shared::new(&mut of_rows);
    pool.split_rows(&mut logits[..n * v], v, EXP * n * v, |part, logits| {
        // SAFETY: parts have different rows.
        let losses = unsafe { losses.slice(part.start, part.len()) };
        for ((row, logits), loss) in rows[part].iter().zip(logits.chunks_exact_mut(v)).zip(losses) {
            match row.target(targets) {
                Some(Target { token, weight }) => {
                    let weight = weight * training.loss_weight;
                    *loss = one(logits, token as usize, gradient.then_some(weight), [scale, cap]);
                }
                None if gradient => logits.fill(0.0),
                None => {}
            }
        }
    });
    for (row, of_row) in rows.iter().zip(of_rows).filter(|(row, _)| row.slot != INACTIVE) {
        loss[row.pos as usize] = of_row;
    }
}

/// The loss of a row; with a weight its logits become their gradient.
fn one(logits: &mut [f32], token: usize, weight: Option<f32>, [scale, cap]: [f32; 2]) -> f32 {
    let most = largest(logits);
    let wanted = logits[token] - most;
    let slope_of = |logit: f32| scale * capped_slope(logit, cap);
    let slope = slope_of(logits[token]);
    // A vocabulary's worth of f32 additions would lose digits.
    let mut sum = 0.0f64;
    for logit in logits.iter_mut() {
        let exp = (*logit - most).exp();
        sum += f64::from(exp);
        if weight.is_some() {
            *logit = exp * slope_of(*logit);
        }
    }
    if let Some(weight) = weight {
        let factor = (f64::from(weight) / sum) as f32;
        logits.iter_mut().for_each(|logit| *logit *= factor);
        logits[token] -= weight * slope;
    }
    sum.ln() as f32 - wanted
}
