//! Twin of `shaders/adam_w.wgsl`.

use crate::control::Training;

/// A step of AdamW (arXiv:1711.05101) as `torch.optim.AdamW` takes it after
/// `torch.nn.utils.clip_grad_norm_`, then g = 0
///
/// sums (gradients) are the squared norms of all gradients; g, m, v and param (len).
pub(crate) fn adam_w(
    training: &Training,
    sums: &[f32],
    g: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    param: &mut [f32],
) {
    let Training { learning_rate, weight_decay, eps, .. } = *training;
    let (learning_rate, eps) = (f64::from(learning_rate), f64::from(eps));
    let keep = 1.0 - learning_rate * f64::from(weight_decay);
    let [rate_1, rate_2] = training.rates.map(f64::from);
    let [correction_1, correction_2] = training.corrections.map(f64::from);
    let clip = clip(training, sums);
    for (((g, m), v), param) in g.iter_mut().zip(m).zip(v).zip(param) {
        let gradient = f64::from(*g) * clip;
        let first = f64::from(*m) + rate_1 * (gradient - f64::from(*m));
        let second = f64::from(*v) + rate_2 * (gradient * gradient - f64::from(*v));
        let step = first / correction_1 / (second.sqrt() / correction_2 + eps);
        *param = (f64::from(*param) * keep - learning_rate * step) as f32;
        (*g, *m, *v) = (0.0, first as f32, second as f32);
    }
}

/// What gradients whose squared norms are `sums` are multiplied by: min(1, max_norm / norm).
fn clip(training: &Training, sums: &[f32]) -> f64 {
    if training.max_norm == 0.0 {
        return 1.0;
    }
    let norm = sums.iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt();
    (f64::from(training.max_norm) / (norm + 1e-6)).min(1.0)
}
