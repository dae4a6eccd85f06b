//! Twin of `shaders/dropout.wgsl`.

use crate::control::{Row, Training};

use crate::noise::mix;

/// y[n] = x[n] ∘ keep / (1 − p) (+ y[n])
///
/// rows (N, 4), x (N, C) -> y (N, C). With `accumulate` what y holds is added.
pub fn dropout(
    training: &Training,
    rows: &[Row],
    x: &[f32],
    c: usize,
    site: u32,
    accumulate: bool,
    y: &mut [f32],
) {
    let scale = 1.0 / (1.0 - training.dropout);
    for ((row, x), y) in rows.iter().zip(x.chunks_exact(c)).zip(y.chunks_exact_mut(c)) {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let kept = if keep(training, site, row.pos, i as u32) { x * scale } else { 0.0 };
            *y = if accumulate { *y + kept } else { kept };
        }
    }
}

/// Whether an element stays: noise of 24 bits, a function of its arguments alone, against p.
fn keep(training: &Training, site: u32, pos: u32, column: u32) -> bool {
    let bits = mix(training.seed ^ mix(site ^ mix(pos ^ mix(column)))) >> 8;
    bits as f32 >= training.dropout * (1 << 24) as f32
}
