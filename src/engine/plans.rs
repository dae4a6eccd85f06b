//! The plans of a model, prepared once per kind and number of rows, then replayed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::backend::{Backend, Prepared};
use crate::error::Result;
use crate::model::{MAX_ROWS, Model};
use crate::plan::Plan;

/// What a plan ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The cache.
    Prefill,
    /// Logits.
    Score,
    /// The next tokens.
    Decode,
    /// Hidden states after so many layers.
    Hidden(usize),
    /// Training: the first layer's input.
    TrainEmbed,
    /// Training: a layer forward.
    TrainLayer(usize),
    /// Training: losses and the gradient by the last layer's output.
    TrainHead,
    /// Training: a layer backward.
    TrainBackward(usize),
    /// Training: a step of the optimiser.
    TrainUpdate,
}

/// Plans made so far.
#[derive(Debug, Default)]
pub struct Plans {
    prepared: HashMap<(Kind, usize), Prepared>,
}

impl Plans {
    /// The plan of `kind` for `n` rows, made now if it is the first of its kind.
    pub fn get(&mut self, kind: Kind, n: usize, model: &Model, backend: &mut Backend) -> Result<&Prepared> {
        Ok(match self.prepared.entry((kind, n)) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let plan = match kind {
                    Kind::Prefill => model.prefill(n),
                    Kind::Score => model.score(n),
                    Kind::Decode => model.decode(n),
                    Kind::Hidden(layers) => model.hidden(n, layers),
                    Kind::TrainEmbed => model.train_embed(n),
                    Kind::TrainLayer(l) => model.train_layer(n, l),
                    Kind::TrainHead => model.train_head(n),
                    Kind::TrainBackward(l) => model.train_backward(n, l),
                    Kind::TrainUpdate => model.train_update(n),
                };
                place.insert(backend.prepare(&plan)?)
            }
        })
    }
}

/// Plans that name every kernel which running the model needs, and training it if an adapter is.
pub fn every_kernel(model: &Model) -> Vec<Plan> {
    // A prompt comes in runs of all rows, of few and of one.
    let mut plans = vec![model.decode(1), model.prefill(2), model.prefill(MAX_ROWS)];
    if let Some(trainee) = &model.training.trainee {
        let last = model.config.layers.len() - 1;
        plans.push(model.train_embed(1));
        for n in [1, 2, MAX_ROWS] {
            plans.extend([model.train_layer(n, last), model.train_backward(n, last)]);
        }
        plans.extend([1, model.score_rows()].map(|n| model.train_head(n)));
        plans.push(model.train_update(trainee.update_rows()));
    }
    plans
}

/// Rows of the next run when `pending` are to go and a run takes at most `most`: a power of
/// two, so that few plans serve every length and no row is padding.
pub fn run_rows(pending: usize, most: usize) -> usize {
    let n = pending.min(most);
    1 << n.ilog2()
}

/// Multiplications of a slice on a page's own thread, where some 20 ms are as long as it may wait.
const SLICE_MULTIPLICATIONS: usize = 50_000_000;

/// Rows of a slice if each takes so many multiplications: all there may be but on a page's own thread.
pub fn slice_rows(backend: &Backend, per_row: usize) -> usize {
    match backend {
        Backend::Cpu(_) if cfg!(target_arch = "wasm32") => rows_within(SLICE_MULTIPLICATIONS, per_row),
        Backend::Cpu(_) | Backend::Gpu(_) => MAX_ROWS,
    }
}

/// Rows of a run forward, at most `most`, if each takes so many multiplications: fewer on a slow GPU. What is
/// computed does not depend on it.
pub fn forward_rows(backend: &Backend, per_row: usize, most: usize) -> usize {
    match backend {
        Backend::Cpu(_) => most,
        Backend::Gpu(gpu) => gpu.rows_within(per_row, most),
    }
}

/// A power of two, so that few plans serve every length; 1 where even that is too many.
fn rows_within(multiplications: usize, per_row: usize) -> usize {
    run_rows((multiplications / per_row.max(1)).max(1), MAX_ROWS)
}

#[cfg(test)]
mod tests {
    use super::{rows_within, run_rows};

    #[test]
    fn a_slice_keeps_within_its_multiplications() {
        let rows = [1, 100, 390, 391, 25_000, 50_001, usize::MAX].map(|per_row| rows_within(50_000, per_row));
        assert_eq!(rows, [128, 128, 128, 64, 2, 1, 1]);
    }

    #[test]
    fn runs_are_powers_of_two_that_fit() {
        let runs: Vec<_> = [1, 2, 3, 100, 127, 128, 500].map(|n| run_rows(n, 128)).into();
        assert_eq!(runs, [1, 2, 2, 64, 64, 128, 128]);
        assert_eq!(run_rows(128, 100), 64);
    }
}
