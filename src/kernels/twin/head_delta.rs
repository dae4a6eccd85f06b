//! Twin of `shaders/head_delta.wgsl`.

use crate::control::{ABSENT, Mix, Row};

/// A [`Replaced`](crate::ops::Replaced) with its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplacedData<'a> {
    /// (adapters, V)
    pub(crate) map: &'a [u32],
    /// V
    pub(crate) v: usize,
    /// (any, C)
    pub(crate) deltas: &'a [f32],
    /// C
    pub(crate) c: usize,
}

impl<'a> ReplacedData<'a> {
    /// What an adapter's row for a token has more than the base's.
    pub(crate) fn row(&self, adapter: usize, token: usize) -> Option<&'a [f32]> {
        if token >= self.v {
            return None;
        }
        let row = self.map[adapter * self.v + token];
        (row != ABSENT).then(|| &self.deltas[row as usize * self.c..][..self.c])
    }
}

/// logits[n, token] += Σ γ·deltas[map[token]]·x[n], over the adapters of row n's mix
///
/// rows (N, 4), mixes, x (N, C), logits (N, V).
pub(crate) fn head_delta(
    rows: &[Row],
    mixes: &[Mix],
    x: &[f32],
    replaced: ReplacedData<'_>,
    logits: &mut [f32],
) {
    let ReplacedData { v, c, .. } = replaced;
    for (row, (x, logits)) in rows.iter().zip(x.chunks_exact(c).zip(logits.chunks_exact_mut(v))) {
        for block in mixes[row.mix as usize].active() {
            for (token, logit) in logits.iter_mut().enumerate() {
                let Some(delta) = replaced.row(block.index(), token) else { continue };
                let dot: f64 = x.iter().zip(delta).map(|(&x, &d)| f64::from(x) * f64::from(d)).sum();
                *logit = (f64::from(*logit) + f64::from(block.weight) * dot) as f32;
            }
        }
    }
}
