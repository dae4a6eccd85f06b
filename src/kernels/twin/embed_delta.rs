//! Twin of `shaders/embed_delta.wgsl`.

use crate::control::{Mix, Row};

use super::head_delta::ReplacedData;

/// y[n] ← y[n] ∘ (1 + Σ γ·gain) + scale · (Σ γ·shift + Σ γ·a[:, token]·b + Σ γ·deltas[map[token]])
///
/// rows (N, 4), mixes, a (R, V), b (R + 2·adapters, C) = [ranks; gains; shifts], y (N, C). With
/// `ranks` 0 a and b are not read. Tokens past V have no column in a: they are virtual.
pub(crate) fn embed_delta(
    rows: &[Row],
    mixes: &[Mix],
    a: &[f32],
    b: &[f32],
    ranks: usize,
    replaced: Option<ReplacedData<'_>>,
    scale: f32,
    c: usize,
    y: &mut [f32],
) {
    let adapters = (b.len() / c).saturating_sub(ranks) / 2;
    let v = a.len() / ranks.max(1);
    for (row, y) in rows.iter().zip(y.chunks_exact_mut(c)) {
        let token = row.token as usize;
        for (i, y) in y.iter_mut().enumerate() {
            let (mut gain, mut sum) = (1.0, 0.0);
            for block in mixes[row.mix as usize].active() {
                let weight = f64::from(block.weight);
                let at = |row: usize| f64::from(b[row * c + i]);
                if ranks > 0 && token < v {
                    if let Some(adapter) = block.affine() {
                        gain += weight * at(ranks + adapter);
                        sum += weight * at(ranks + adapters + adapter);
                    }
                    sum += block.range().map(|r| weight * f64::from(a[r * v + token]) * at(r)).sum::<f64>();
                }
                if let Some(delta) = replaced.and_then(|replaced| replaced.row(block.index(), token)) {
                    sum += weight * f64::from(delta[i]);
                }
            }
            *y = (f64::from(*y) * gain + f64::from(scale) * sum) as f32;
        }
    }
}
