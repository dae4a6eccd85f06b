//! Plans of training, forward: layers as inference runs them, but what the way back needs is kept.
//! The way back is `backward`'s.
//!
//! Of each tile of a window the residual stream before every layer is kept by position; the way back
//! runs the layer once more from there.

use crate::ops::{self, Delta, DownProjection};
use crate::plan::{Plan, TensorId};

use super::Model;
use super::block::{Adapt, Block, Map};
use super::forward;
use super::steps::Steps;
use super::weights::{Layer, Linear};

/// Rows of the window to the first layer's input.
pub(crate) fn embed(model: &Model, plan: &mut Plan) {
    let mut steps = Steps { model, plan };
    forward::embed(&mut steps);
    steps.keep(model.scratch.x, model.training.checkpoints[0]);
}

/// One layer, from checkpoint to checkpoint, its keys and values into the cache.
pub(crate) fn layer(model: &Model, plan: &mut Plan, l: usize) {
    let mut block = from_checkpoint(model, plan, l);
    let y = block.layer(l);
    block.steps.keep(y, model.training.checkpoints[l + 1]);
}

/// A layer under construction, its input recalled.
pub(crate) fn from_checkpoint<'a>(model: &'a Model, plan: &'a mut Plan, l: usize) -> Block<'a, Kept> {
    let mut steps = Steps { model, plan };
    steps.recall(model.scratch.x, model.training.checkpoints[l]);
    Block { steps, adapt: Kept::default() }
}

/// What a map's adapters read, and what lies in its z.
#[derive(Clone, Copy)]
pub(crate) struct Adapted {
    pub(crate) shrink: DownProjection,
    pub(crate) delta: Delta,
    /// The shrink's input.
    pub(crate) input: TensorId,
}

/// Each map's z has a tensor of its own, and so has the residual stream behind the attention. Gains and
/// shifts are not trained through.
#[derive(Default)]
pub(crate) struct Kept {
    /// Of qkv, o, up and down, as far as the layer has come and adapters act.
    pub(crate) adapted: [Option<Adapted>; 4],
}

impl Adapt for Kept {
    fn ride(&self, _: &Steps<'_>, _: &Linear, _: usize, _: usize) -> Option<(DownProjection, Delta)> {
        None
    }

    fn changes(&self, _: &Model, _: usize) -> bool {
        false
    }

    fn change(&mut self, _: &mut Steps<'_>, _: usize, _: TensorId) {}

    /// z = A·dropout(x)
    fn shrink(
        &mut self,
        steps: &mut Steps<'_>,
        layer: &Layer,
        map: Map,
        x: TensorId,
        _: Option<Delta>,
    ) -> Option<Delta> {
        let Model { bank, state, training, .. } = steps.model;
        let (i, site) = (map as usize, map.of(layer).site);
        let (shrink, delta) = bank.halves(site, state.rows, 1)?;
        let z = training.scratch.z[i];
        let (shrink, delta) = (DownProjection { z, ..shrink }, Delta { z, ..delta });
        let input = if training.of_trainee().dropout {
            steps.dropout(site, x, training.scratch.dropped[i], false);
            training.scratch.dropped[i]
        } else {
            x
        };
        steps.push(ops::Shrink { x: input, shrink });
        self.adapted[i] = Some(Adapted { shrink, delta, input });
        Some(delta)
    }

    fn residual(&mut self, steps: &mut Steps<'_>, l: usize) -> TensorId {
        let training = &steps.model.training;
        steps.recall(training.scratch.middle, training.checkpoints[l]);
        training.scratch.middle
    }

    /// Not where the input of qkv is, which its adapters' gradients need.
    fn mlp_input(&self, model: &Model) -> TensorId {
        model.training.scratch.normed
    }
}

impl Steps<'_> {
    /// By position: y[pos] = x
    pub(crate) fn keep(&mut self, x: TensorId, y: TensorId) {
        self.push(ops::KeepRows { rows: self.model.state.rows, x, y });
    }

    /// x = y[pos]
    pub(crate) fn recall(&mut self, x: TensorId, y: TensorId) {
        self.push(ops::RecallRows { rows: self.model.state.rows, y, x });
    }

    /// y = dropout(x) (+ y), the same each time for a site
    pub(crate) fn dropout(&mut self, site: usize, x: TensorId, y: TensorId, accumulate: bool) {
        let Model { state, training, .. } = self.model;
        let (training, rows, site) = (training.numbers, state.rows, site as u32);
        self.push(ops::Dropout { training, rows, x, y, site, accumulate });
    }
}
