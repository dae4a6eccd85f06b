//! Plans of training, forward: layers as inference runs them, but what the way back needs is kept.
//! The way back is `backward`'s.
//!
//! Of each tile the residual stream before every layer is kept by position, and the way back runs the layer once more
//! from there. Where there is memory for it, what costs most to compute is kept of every layer, too, and not computed
//! again: copied by position, or, of a window of one tile, left where it was made.

use crate::ops::{self, Delta, DownProjection};
use crate::plan::{Plan, TensorId};

use super::block::{Adapt, Block, Map};
use super::forward;
use super::steps::Steps;
use super::trainee::Keep;
use super::training::KeptLayer;
use super::weights::{Layer, Linear};
use super::{Model, Scratch};

/// Rows of the window to the first layer's input.
pub(crate) fn embed(model: &Model, plan: &mut Plan) {
    let (mut steps, x) = (Steps::new(model, plan), model.training.checkpoints[0]);
    if model.training.of_trainee().keep == Keep::InPlace {
        steps.scratch.x = x;
        forward::embed(&mut steps);
    } else {
        forward::embed(&mut steps);
        steps.keep(model.scratch.x, x);
    }
}

/// One layer, from checkpoint to checkpoint, its keys and values into the cache.
pub(crate) fn layer(model: &Model, plan: &mut Plan, l: usize) {
    let mut block = from_checkpoint(model, plan, l);
    let y = block.layer(l);
    let next = model.training.checkpoints[l + 1];
    // Of the last layer's rows the head takes others than the layers do.
    if y != next {
        block.steps.keep(y, next);
    }
    if model.training.of_trainee().keep == Keep::Copies {
        copies(&block, l).into_iter().for_each(|(made, kept)| block.steps.keep(made, kept));
    }
}

/// Where what is kept of a layer is made, and where its copies lie.
fn copies(Block { steps, adapt }: &Block<'_, Kept>, l: usize) -> Vec<(TensorId, TensorId)> {
    let (Scratch { q, attended, up, qkv, heads, .. }, kept) = (steps.scratch, steps.model.training.kept[l]);
    let always = [(q, kept.q), (attended, kept.attended), (adapt.middle, kept.middle), (up, kept.up)];
    // Before the norms of heads.
    always.into_iter().chain(heads.map(|_| (qkv, kept.qkv))).collect()
}

/// A layer under construction, its input in its place.
pub(crate) fn from_checkpoint<'a>(model: &'a Model, plan: &'a mut Plan, l: usize) -> Block<'a, Kept> {
    let Model { training, scratch, config, .. } = model;
    let mut steps = Steps::new(model, plan);
    let x = training.checkpoints[l];
    let keep = training.of_trainee().keep;
    if keep != Keep::InPlace {
        steps.recall(scratch.x, x);
        // What is copied at the layer's end must be there until then.
        let output = (keep == Keep::Copies).then_some(scratch.x);
        let adapt = Kept { adapted: Default::default(), middle: training.scratch.middle, output };
        return Block { steps, adapt };
    }
    let KeptLayer { q, attended, middle, up, qkv } = training.kept[l];
    let is_last = l + 1 == config.layers.len();
    let output = Some(if is_last { scratch.x } else { training.checkpoints[l + 1] });
    let normed_qkv = scratch.heads.map_or(scratch.qkv, |_| qkv);
    steps.scratch = Scratch { x, q, attended, up, qkv: normed_qkv, ..*scratch };
    Block { steps, adapt: Kept { adapted: Default::default(), middle, output } }
}

/// The same on the way back, where what was kept is not computed again.
pub(crate) fn kept_layer<'a>(model: &'a Model, plan: &'a mut Plan, l: usize) -> Block<'a, Kept> {
    let mut block = from_checkpoint(model, plan, l);
    let keep = model.training.of_trainee().keep;
    if keep == Keep::Copies {
        copies(&block, l).into_iter().for_each(|(made, kept)| block.steps.recall(made, kept));
    }
    if keep != Keep::Inputs {
        let (Block { steps, adapt }, layer) = (&mut block, &model.weights.layers[l]);
        let Scratch { q, attended, up, qkv, heads, branch, .. } = steps.scratch;
        let (k_cache, v_cache) = model.state.cache[l];
        steps.there = [q, k_cache, v_cache, attended, adapt.middle, up, qkv].to_vec();
        steps.there.extend(heads);
        // The way back through a norm reads what was normed.
        steps.there.extend(branch.filter(|_| layer.attention_post_norm.is_none()));
    }
    block
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
pub(crate) struct Kept {
    /// Of qkv, o, up and down, as far as the layer has come and adapters act.
    pub(crate) adapted: [Option<Adapted>; 4],
    middle: TensorId,
    /// Where the layer's output is made, if it does not take the place of the stream behind the attention.
    output: Option<TensorId>,
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

    fn residual(&mut self, steps: &mut Steps<'_>) -> TensorId {
        steps.copy(steps.scratch.x, self.middle);
        self.middle
    }

    fn output(&mut self, steps: &mut Steps<'_>, h: TensorId) -> TensorId {
        let Some(y) = self.output else { return h };
        steps.copy(h, y);
        y
    }

    /// Not where the input of qkv is, which its adapters' gradients need.
    fn mlp_input(&self, steps: &Steps<'_>) -> TensorId {
        steps.model.training.scratch.normed
    }
}

impl Steps<'_> {
    /// y = x
    fn copy(&mut self, x: TensorId, y: TensorId) {
        self.push(ops::Scale { x, y, scale: 1.0, accumulate: false });
    }

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
