//! Plans of inference: embedding, layers, head and sampling. The layers themselves are `block`'s;
//! here adapters cost as few steps as can be.

use crate::ops::{self, Delta, DownProjection, Slice};
use crate::plan::{Plan, TensorId};

use super::Model;
use super::block::{Adapt, Block, Map};
use super::steps::Steps;
use super::weights::{Layer, Linear};

/// x after the first `count` layers.
pub(crate) fn layers(model: &Model, plan: &mut Plan, count: usize) {
    let mut block = Block { steps: Steps::new(model, plan), adapt: Ride };
    embed(&mut block.steps);
    for l in 0..count {
        block.layer(l);
    }
}

/// x after `count` layers; after all of them, norm(x).
pub(crate) fn hidden(model: &Model, plan: &mut Plan, count: usize) {
    layers(model, plan, count);
    let Model { scratch, weights, .. } = model;
    if count == weights.layers.len() {
        let mut block = Block { steps: Steps::new(model, plan), adapt: Ride };
        block.norm(scratch.x, weights.last_norm(), scratch.xn, &weights.head);
    }
}

/// logits = norm(x) · headᵀ, scaled and capped
pub(crate) fn head(model: &Model, plan: &mut Plan) {
    let Model { config, state, scratch, weights, bank, .. } = model;
    let (head, logits) = (&weights.head, state.logits);
    let mut block = Block { steps: Steps::new(model, plan), adapt: Ride };
    let ridden = block.norm(scratch.x, weights.last_norm(), scratch.xn, head);
    let delta = Ride.or_shrink(&mut block.steps, head, scratch.xn, ridden);
    block.steps.linear(scratch.xn, head, logits, false, delta);
    if let Some(op) = bank.head_delta(state.rows, scratch.xn, logits) {
        block.steps.push(op);
    }
    let (scale, cap) = (config.scales.logits, config.scales.logit_cap);
    if [scale, cap] != [1.0, 0.0] {
        block.steps.push(ops::SoftCap { x: logits, scale, cap });
    }
}

/// The losses of the rows' targets, by position, and with `gradient` that by the logits in their place.
pub(crate) fn losses(model: &Model, plan: &mut Plan, [targets, loss]: [TensorId; 2], gradient: bool) {
    let Model { config, state, training, .. } = model;
    let op = ops::CrossEntropy {
        training: training.numbers,
        rows: state.rows,
        targets,
        logits: state.logits,
        loss,
        scale: config.scales.logits,
        cap: config.scales.logit_cap,
        gradient,
    };
    plan.push(&model.tensors, op);
}

/// The next tokens, drawn from the logits.
pub(crate) fn sample(model: &Model, plan: &mut Plan) {
    let state = &model.state;
    let op = ops::Sample {
        logits: state.logits,
        sampling: state.sampling,
        seen: state.seen,
        rows: state.rows,
        ring: state.ring,
    };
    plan.push(&model.tensors, op);
}

/// x = embed(tokens), and what adapters make of it.
pub(super) fn embed(steps: &mut Steps<'_>) {
    let Model { bank, config, state, weights, .. } = steps.model;
    let (scales, scratch) = (&config.scales, steps.scratch);
    let (rows, positions, y) = (state.rows, weights.positions, scratch.x);
    for &table in &weights.embed.slices {
        steps.push(ops::Embed { rows, table, scale: scales.embedding, positions, y });
    }
    if bank.room.prompts > 0 {
        let table = Slice { tensor: bank.tables.prompts, first: bank.tables.v };
        steps.push(ops::Embed { rows, table, scale: scales.virtual_tokens, positions, y });
    }
    if let Some(op) = bank.embed_delta(rows, scales.embedding, y) {
        steps.push(op);
    }
}

/// Shrinks ride in the steps that make what they read, or are steps of their own; the residual stream
/// is changed in place.
pub(super) struct Ride;

impl Ride {
    fn or_shrink(
        &self,
        steps: &mut Steps<'_>,
        linear: &Linear,
        x: TensorId,
        ridden: Option<Delta>,
    ) -> Option<Delta> {
        ridden.or_else(|| {
            let (shrink, delta) = steps.model.bank.halves(linear.site, steps.model.state.rows, 1)?;
            steps.push(ops::Shrink { x, shrink });
            Some(delta)
        })
    }
}

impl Adapt for Ride {
    fn ride(
        &self,
        steps: &Steps<'_>,
        reader: &Linear,
        point: usize,
        partials: usize,
    ) -> Option<(DownProjection, Delta)> {
        let Model { bank, state, .. } = steps.model;
        // Not where adapters change the activation itself first.
        if bank.points[point].enabled { None } else { bank.halves(reader.site, state.rows, partials) }
    }

    fn changes(&self, model: &Model, point: usize) -> bool {
        model.bank.points[point].enabled
    }

    fn change(&mut self, steps: &mut Steps<'_>, point: usize, x: TensorId) {
        let Model { bank, state, .. } = steps.model;
        let point = &bank.points[point];
        if point.enabled {
            steps.push(ops::Affine { rows: state.rows, mixes: bank.mixes(), gains: point.gains, x });
        }
    }

    fn shrink(
        &mut self,
        steps: &mut Steps<'_>,
        layer: &Layer,
        map: Map,
        x: TensorId,
        ridden: Option<Delta>,
    ) -> Option<Delta> {
        self.or_shrink(steps, map.of(layer), x, ridden)
    }

    fn residual(&mut self, steps: &mut Steps<'_>) -> TensorId {
        steps.scratch.x
    }

    fn output(&mut self, _: &mut Steps<'_>, h: TensorId) -> TensorId {
        h
    }

    fn mlp_input(&self, steps: &Steps<'_>) -> TensorId {
        steps.scratch.xn
    }
}
