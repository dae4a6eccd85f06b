//! Twin of `shaders/affine.wgsl`.

use crate::control::{Mix, Row};

/// x[n] ← x[n] ∘ (1 + Σ γ·gain) + Σ γ·shift, over the adapters of row n's mix
///
/// rows (N, 4), mixes, gains (2·adapters, C) = [gains; shifts], x (N, C).
pub(crate) fn affine(rows: &[Row], mixes: &[Mix], gains: &[f32], c: usize, x: &mut [f32]) {
    let adapters = gains.len() / c / 2;
    let line = |row: usize| &gains[row * c..][..c];
    for (row, x) in rows.iter().zip(x.chunks_exact_mut(c)) {
        let blocks = mixes[row.mix as usize].active();
        for (i, x) in x.iter_mut().enumerate() {
            let (mut gain, mut shift) = (1.0, 0.0);
            for (block, adapter) in blocks.iter().filter_map(|block| Some((block, block.affine()?))) {
                gain += f64::from(block.weight) * f64::from(line(adapter)[i]);
                shift += f64::from(block.weight) * f64::from(line(adapters + adapter)[i]);
            }
            if !blocks.is_empty() {
                *x = (f64::from(*x) * gain + shift) as f32;
            }
        }
    }
}
