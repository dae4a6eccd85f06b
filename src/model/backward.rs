//! Training, the way back: gradients of one layer, and the step of the optimiser. How a window goes
//! forward is `kept`'s; what of an adapter is trained, and how, `methods`'.
//!
//! A window is run in tiles of rows. Forward goes tile by tile and layer by layer, backward layer
//! by layer and tile by tile, both in reverse: when a tile's turn comes, all later tiles have
//! added to the gradients of its keys and values. Between plans everything lies by position.

use std::collections::BTreeMap;

use crate::ops::{self, Delta};
use crate::plan::{Plan, TensorId};

use super::Model;
use super::block::{Adapt, Block, Map};
use super::blueprint::{Norm, Order};
use super::forward;
use super::kept::{Adapted, Kept, kept_layer};
use super::methods::{Flow, Place};
use super::moments::Arena;
use super::steps::Steps;
use super::trainee::Keep;
use super::weights::{HeadNorms, Layer, Linear, NormWeights};

/// Losses of the rows' targets, and the gradient by the last layer's output.
pub(crate) fn head(model: &Model, plan: &mut Plan) {
    let Model { state, scratch, weights, training, bank, .. } = model;
    let (t, logits) = (&training.scratch, state.logits);
    Steps::new(model, plan).recall(scratch.x, training.checkpoints[weights.layers.len()]);
    forward::head(model, plan);
    forward::losses(model, plan, [training.targets, training.losses], true);
    let mut steps = Steps::new(model, plan);
    steps.linear_grad(logits, &weights.head, t.dxn);
    if let Some((shrink, delta)) = bank.halves(weights.head.site, state.rows, 1) {
        steps.adapters_grad(delta, shrink.a, logits, t.dxn, true);
    }
    steps.recall(t.dx, training.gradients);
    steps.norm_grad(scratch.x, weights.last_norm(), t.dxn, t.dx);
    steps.keep(t.dx, training.gradients);
}

/// One layer back: gradients of its adapters, and the gradient by its input.
pub(crate) fn backward(model: &Model, plan: &mut Plan, l: usize) {
    let Model { config, training, weights, .. } = model;
    let (t, layer) = (&training.scratch, &weights.layers[l]);
    let mut block = kept_layer(model, plan, l);
    let h = block.hidden(l);
    let Block { mut steps, mut adapt } = block;
    let scratch = steps.scratch;
    let delta = adapt.shrink(&mut steps, layer, Map::Down, scratch.hidden, None);
    if layer.mlp_post_norm.is_some() {
        steps.linear(scratch.hidden, &layer.down, t.mlp_branch, false, delta);
    }
    let (Kept { adapted, .. }, in_place) = (adapt, training.of_trainee().keep == Keep::InPlace);
    // Of one tile the gradient stays where it is from layer to layer.
    if !in_place || l + 1 == config.layers.len() {
        steps.recall(t.dx, training.gradients);
    }
    // The MLP: h + down · hidden(h)
    let dy = steps.join_grad(t.mlp_branch, layer.mlp_post_norm.as_ref());
    steps.map_grad(layer, Map::Down, &adapted, dy, t.dhidden);
    if config.order != Order::Serial {
        // Before the MLP adds to the gradient by x, which is none by what attention adds.
        steps.o_grad(layer, &adapted);
    }
    let (kind, gated) = (config.activation, config.gated);
    steps.push(ops::ActivationGrad { x: scratch.up, dy: t.dhidden, dx: t.dup, kind, gated });
    steps.map_grad(layer, Map::Up, &adapted, t.dup, t.dxn);
    match config.order {
        Order::Serial => {
            steps.normed_grad(h, layer.mlp_norm.as_ref(), t.dxn);
            steps.o_grad(layer, &adapted);
        }
        Order::Parallel => steps.normed_grad(scratch.x, layer.mlp_norm.as_ref(), t.dxn),
        Order::ParallelOneNorm => steps.normed_grad(scratch.x, layer.attention_norm.as_ref(), t.dxn),
    }
    steps.attention_grad(l);
    steps.map_grad(layer, Map::Qkv, &adapted, t.dqkv, t.dxn);
    steps.normed_grad(scratch.x, layer.attention_norm.as_ref(), t.dxn);
    if !in_place {
        steps.keep(t.dx, training.gradients);
    }
}

/// The sums of the squares of all gradients.
pub(crate) fn norms(model: &Model, plan: &mut Plan) {
    let training = &model.training;
    let mut steps = Steps::new(model, plan);
    for (k, &Arena { g, .. }) in training.moments.arenas().iter().enumerate() {
        steps.push(ops::SquareSum { g, sums: training.sums, first: k * ops::SquareSum::PARTS });
    }
}

/// A step of AdamW on all that the trainee has, by gradients clipped together by their [`norms`], and what follows from
/// it; for [`Trainee::update_rows`](super::Trainee::update_rows) rows.
pub(crate) fn update(model: &Model, plan: &mut Plan) {
    let Model { training, bank, tensors, .. } = model;
    let trainee = training.of_trainee();
    let method = trainee.variant.method();
    let mut steps = Steps::new(model, plan);
    let sites = trainee.sites.iter().zip(&training.moments.sites);
    let places: Vec<Place> = sites
        .map(|(trained, moments)| Place { bank, site: &bank.sites[trained.site], trained, moments })
        .collect();
    // One step for each arena of parameters and of gradients, which is one step unless they are large.
    let mut together: BTreeMap<_, Vec<ops::Trained>> = BTreeMap::new();
    for place in &places {
        for trained in method.trained(place) {
            let arenas = (place.moments.arena, tensors.get(trained.param).arena);
            together.entry(arenas).or_default().push(trained);
        }
    }
    for ((arena, _), params) in together {
        let Arena { g, m, v } = training.moments.arenas()[arena];
        let (training, sums) = (training.numbers, training.sums);
        steps.push(ops::AdamW { training, sums, g, m, v, params });
    }
    places.iter().for_each(|place| method.derive(&mut steps, place));
}

impl Steps<'_> {
    /// dattended of the attention: x + o · attended
    fn o_grad(&mut self, layer: &Layer, adapted: &[Option<Adapted>; 4]) {
        let (t, scratch) = (&self.model.training.scratch, self.scratch);
        let dy = self.join_grad(scratch.branch.unwrap_or(t.dx), layer.attention_post_norm.as_ref());
        self.map_grad(layer, Map::O, adapted, dy, t.dattended);
    }

    /// dqkv by dattended, through attention, split and the norms of heads.
    fn attention_grad(&mut self, l: usize) {
        let (Model { config, state, weights, training, .. }, scratch) = (self.model, self.scratch);
        let (t, forward) = (&training.scratch, self.attention(l));
        let (dy, stats, rows, head_dim) = (t.dattended, t.stats, state.rows, config.head_dim);
        let [dk_cache, dv_cache] = training.cache;
        let (dq, dqkv, rope) = (t.dq, t.dqkv, state.rope(config, l));
        self.push(ops::AttentionGradQ { forward, dy, dq, stats });
        self.push(ops::AttentionGradKv { forward, dy, stats, dk_cache, dv_cache });
        self.push(ops::SplitQkvGrad {
            rows,
            dq,
            dk_cache,
            dv_cache,
            rope,
            dqkv,
            head_dim,
            grouped: config.qkv_grouped,
            neighbours: config.neighbours,
            growth: config.scales.growth,
        });
        if let Some(HeadNorms { weights, q_heads, eps, .. }) = weights.layers[l].head_norms {
            let qkv = scratch.qkv;
            self.push(ops::HeadNormGrad { qkv, weights, dx: dqkv, q_heads, eps });
        }
    }

    /// Where the gradient by linear · x is, of which h + linear · x was made by way of a norm or a factor:
    /// that by h, which is dx, or another made of it. `branch` is linear · x.
    fn join_grad(&mut self, branch: TensorId, norm: Option<&NormWeights>) -> TensorId {
        let Model { config, training, .. } = self.model;
        let t = &training.scratch;
        if !config.has_branches() {
            return t.dx;
        }
        // The way back through a norm adds: to nothing.
        let scale = if norm.is_some() { 0.0 } else { config.scales.residual };
        self.push(ops::Scale { x: t.dx, y: t.dbranch, scale, accumulate: false });
        if let Some(norm) = norm {
            self.norm_grad(branch, norm, t.dx, t.dbranch);
        }
        t.dbranch
    }

    /// dx += dy · d norm(x) / dx, or dx += dy where there is no norm
    fn normed_grad(&mut self, x: TensorId, norm: Option<&NormWeights>, dy: TensorId) {
        let dx = self.model.training.scratch.dx;
        match norm {
            Some(norm) => self.norm_grad(x, norm, dy, dx),
            None => self.push(ops::Scale { x: dy, y: dx, scale: 1.0, accumulate: true }),
        }
    }

    /// dx += dy · d norm(x) / dx
    fn norm_grad(&mut self, x: TensorId, weights: &NormWeights, dy: TensorId, dx: TensorId) {
        let weight = weights.weight;
        match self.model.config.norm {
            Norm::Rms(eps) => self.push(ops::RmsNormGrad { x, weight, dy, dx, eps }),
            Norm::Layer(eps) => self.push(ops::LayerNormGrad { x, weight, dy, dx, eps }),
        }
    }

    /// dx = dy · W
    fn linear_grad(&mut self, dy: TensorId, linear: &Linear, dx: TensorId) {
        for (i, &weight) in linear.weight.slices.iter().enumerate() {
            self.push(ops::LinearGrad { dy, weight, dx, dx_first: 0, accumulate: i > 0 });
        }
    }

    /// dz = γ ∘ B·dy, and dx = dz·A (+ dx)
    fn adapters_grad(&mut self, delta: Delta, a: TensorId, dy: TensorId, dx: TensorId, accumulate: bool) {
        let Delta { rows, mixes, b, ranks, parts, .. } = delta;
        let dz = self.model.training.scratch.dz;
        self.push(ops::ShrinkGrad { rows, mixes, dy, b, dz, ranks, parts });
        self.push(ops::ExpandGrad { rows, mixes, dz, a, dx, ranks, accumulate });
    }

    /// dx = dy by a map's input, and the gradients of what is trained at it.
    fn map_grad(
        &mut self,
        layer: &Layer,
        map: Map,
        adapted: &[Option<Adapted>; 4],
        dy: TensorId,
        dx: TensorId,
    ) {
        let linear = map.of(layer);
        self.linear_grad(dy, linear, dx);
        let Some(Adapted { shrink, delta, input }) = adapted[map as usize] else { return };
        let training = &self.model.training;
        if training.of_trainee().dropout {
            // Through the dropped input: its gradient by itself first.
            let spread = training.scratch.spread[[0, 1, 0, 2][map as usize]];
            self.adapters_grad(delta, shrink.a, dy, spread, false);
            self.dropout(linear.site, spread, dx, true);
        } else {
            self.adapters_grad(delta, shrink.a, dy, dx, true);
        }
        self.trainee_grad(linear.site, Flow { delta, input, dy });
    }

    /// The gradients of what is trained at a site, where the trainee acts.
    fn trainee_grad(&mut self, site: usize, flow: Flow) {
        let Model { bank, training, .. } = self.model;
        let trainee = training.of_trainee();
        let Some((i, trained)) = trainee.at(site) else { return };
        let moments = &training.moments.sites[i];
        let place = Place { bank, site: &bank.sites[site], trained, moments };
        trainee.variant.method().backward(self, &place, flow);
    }
}
