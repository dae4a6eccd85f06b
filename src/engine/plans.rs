//! The plans of a model, prepared once per kind and number of rows, then replayed.

use std::collections::{HashMap, VecDeque};

use crate::backend::{Backend, Prepared};
use crate::error::Result;
use crate::model::{MAX_ROWS, Model};
use crate::plan::Plan;

/// What a plan ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The cache.
    Prefill,
    /// Logits.
    Score,
    /// Losses of targets.
    Losses,
    /// The next tokens.
    Decode,
    /// The next tokens, from logits that are there.
    Draw,
    /// Hidden states after so many layers.
    Hidden(usize),
    /// Of an encoder: the first layer's input.
    EncodeEmbed,
    /// Of an encoder: a layer's keys and values.
    EncodeKeys(usize),
    /// Of an encoder: a layer.
    EncodeLayer(usize),
    /// Of an encoder: the norm behind the last layer.
    EncodeEnd,
    /// Training: the first layer's input.
    TrainEmbed,
    /// Training: a layer forward.
    TrainLayer(usize),
    /// Training: losses and the gradient by the last layer's output.
    TrainHead,
    /// Training: a layer backward.
    TrainBackward(usize),
    /// Training: the size of all gradients.
    TrainNorms,
    /// Training: a step of the optimiser.
    TrainUpdate,
}

/// Plans kept of a kind: in main memory each number of rows has its own.
const KEPT: usize = 16;

/// Plans made so far, by kind and number of rows, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    prepared: HashMap<Kind, VecDeque<(usize, Prepared)>>,
}

impl Plans {
    /// The plan of `kind` for `n` rows, made now if it is the first of its kind.
    pub(crate) fn get(
        &mut self,
        kind: Kind,
        n: usize,
        model: &Model,
        backend: &mut Backend,
    ) -> Result<&Prepared> {
        let of_kind = self.prepared.entry(kind).or_default();
        let at = match of_kind.iter().position(|(rows, _)| *rows == n) {
            Some(at) => at,
            None => {
                let plan = match kind {
                    Kind::Prefill => model.prefill(n),
                    Kind::Score => model.score(n),
                    Kind::Losses => model.losses(n),
                    Kind::Decode => model.decode(n),
                    Kind::Draw => model.draw(n),
                    Kind::Hidden(layers) => model.hidden(n, layers),
                    Kind::EncodeEmbed => model.encode_embed(n),
                    Kind::EncodeKeys(l) => model.encode_keys(n, l),
                    Kind::EncodeEnd => model.encode_end(n),
                    Kind::EncodeLayer(l) => model.encode_layer(n, l),
                    Kind::TrainEmbed => model.train_embed(n),
                    Kind::TrainLayer(l) => model.train_layer(n, l),
                    Kind::TrainHead => model.train_head(n),
                    Kind::TrainBackward(l) => model.train_backward(n, l),
                    Kind::TrainNorms => model.train_norms(),
                    Kind::TrainUpdate => model.train_update(n),
                };
                let prepared = backend.prepare(&plan)?;
                if of_kind.len() == KEPT {
                    of_kind.pop_front();
                }
                of_kind.push_back((n, prepared));
                of_kind.len() - 1
            }
        };
        Ok(&of_kind[at].1)
    }
}

/// Plans that name every kernel which running the model needs, and training it if an adapter is.
pub(crate) fn every_kernel(model: &Model) -> Vec<Plan> {
    if model.config.encoder.is_some() {
        let of_rows = |n| [model.encode_embed(n), model.encode_keys(n, 0), model.encode_layer(n, 0)];
        return [1, 2, MAX_ROWS].into_iter().flat_map(of_rows).collect();
    }
    // A prompt comes in runs of many rows; few are those of a batch.
    let mut plans = vec![model.decode(1), model.prefill(2), model.prefill(MAX_ROWS)];
    if let Some(trainee) = &model.training.trainee {
        let last = model.config.layers.len() - 1;
        plans.push(model.train_embed(1));
        for n in [1, 2, trainee.tile] {
            let n = n.min(trainee.tile);
            plans.extend([model.train_layer(n, last), model.train_backward(n, last)]);
        }
        plans.extend([1, model.score_rows()].map(|n| model.train_head(n)));
        plans.extend([model.train_norms(), model.train_update(trainee.update_rows())]);
    }
    plans
}
