//! The forward pass, step by step: a pre-norm decoder (arXiv:1706.03762 with the norm moved
//! in front of each block). Families differ by what `config` switches.

use crate::config::Norm;
use crate::ops::{self, Delta, Op, Slice};
use crate::plan::{FEW_ROWS, Plan, TensorId};

use super::Model;
use super::weights::{Layer, Linear, NormWeights};

/// x = embed(tokens); per layer x += attention(norm(x)), x += mlp(norm(x))
pub fn layers(model: &Model, plan: &mut Plan) {
    first_layers(&mut Steps { model, plan }, model.weights.layers.len());
}

/// The first of them.
fn first_layers(steps: &mut Steps<'_>, count: usize) {
    steps.embed();
    for (l, layer) in steps.model.weights.layers.iter().enumerate().take(count) {
        steps.attention(l, layer);
        steps.mlp(layer);
    }
}

/// x after `count` layers; after all of them, norm(x).
pub fn hidden(model: &Model, plan: &mut Plan, count: usize) {
    let mut steps = Steps { model, plan };
    first_layers(&mut steps, count);
    if count == model.weights.layers.len() {
        let Model { scratch, weights, .. } = model;
        steps.norm(scratch.x, &weights.norm, scratch.xn, &weights.head);
    }
}

/// logits = norm(x) · headᵀ
pub fn head(model: &Model, plan: &mut Plan) {
    head_of(&mut Steps { model, plan });
}

/// The same, as a part of another plan.
pub(super) fn head_of(steps: &mut Steps<'_>) {
    let model = steps.model;
    let (scratch, weights) = (&model.scratch, &model.weights);
    let delta = steps.norm(scratch.x, &weights.norm, scratch.xn, &weights.head);
    steps.linear(scratch.xn, &weights.head, model.state.logits, false, delta);
    if let Some(op) = model.bank.head_delta(model.state.rows, scratch.xn, model.state.logits) {
        steps.push(op);
    }
}

/// The next tokens, drawn from the logits.
pub fn sample(model: &Model, plan: &mut Plan) {
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

/// A plan under construction.
pub(super) struct Steps<'a> {
    pub model: &'a Model,
    pub plan: &'a mut Plan,
}

impl Steps<'_> {
    pub fn push(&mut self, op: impl Into<Op>) {
        self.plan.push(&self.model.tensors, op);
    }

    pub fn embed(&mut self) {
        let weights = &self.model.weights;
        for &table in &weights.embed.slices {
            self.push(ops::Embed {
                rows: self.model.state.rows,
                table,
                positions: weights.positions,
                y: self.model.scratch.x,
            });
        }
        let Model { bank, state, scratch, .. } = self.model;
        if bank.room.prompts > 0 {
            let table = Slice { tensor: bank.tables.prompts, first: bank.tables.v };
            self.push(ops::Embed { rows: state.rows, table, positions: weights.positions, y: scratch.x });
        }
        if let Some(op) = bank.embed_delta(state.rows, scratch.x) {
            self.push(op);
        }
    }

    /// x += o · attend(split(qkv · norm(x)))
    fn attention(&mut self, l: usize, layer: &Layer) {
        let Model { config, state, scratch, .. } = self.model;
        let (k_cache, v_cache) = state.cache[l];
        let head_dim = config.head_dim;
        let delta = self.norm(scratch.x, &layer.attention_norm, scratch.xn, &layer.qkv);
        self.linear(scratch.xn, &layer.qkv, scratch.qkv, false, delta);
        self.push(ops::SplitQkv {
            rows: state.rows,
            qkv: scratch.qkv,
            rope: state.rope,
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim,
        });
        // Of few rows the shrink rides in the attention, head by head.
        let rides = self.plan.n() <= FEW_ROWS && !self.acts(layer.o_input);
        let halves = self.model.bank.halves(layer.o.site, state.rows, config.num_attention_heads);
        let (shrink, delta) = halves.filter(|_| rides).unzip();
        let (scale, window) = self.attention_shape(l);
        self.push(ops::Attention {
            rows: state.rows,
            q: scratch.q,
            k_cache,
            v_cache,
            y: scratch.attended,
            head_dim,
            scale,
            window,
            shrink,
        });
        self.affine(layer.o_input, scratch.attended);
        self.linear(scratch.attended, &layer.o, scratch.x, true, delta);
    }

    /// x += down · act(up · norm(x)), or x += down · (act(gate · norm(x)) ∘ (up · norm(x)))
    fn mlp(&mut self, layer: &Layer) {
        let Model { config, scratch, .. } = self.model;
        let delta = self.norm(scratch.x, &layer.mlp_norm, scratch.xn, &layer.up);
        self.linear(scratch.xn, &layer.up, scratch.up, false, delta);
        self.push(ops::Activation {
            x: scratch.up,
            y: scratch.hidden,
            kind: config.activation,
            gated: config.gated,
        });
        self.affine(layer.down_input, scratch.hidden);
        self.linear(scratch.hidden, &layer.down, scratch.x, true, None);
    }

    /// y = norm(x), and with it the shrink of the map that reads y, whose delta is returned; not
    /// where adapters change y itself first.
    fn norm(&mut self, x: TensorId, weights: &NormWeights, y: TensorId, reader: &Linear) -> Option<Delta> {
        let Model { bank, state, .. } = self.model;
        let halves = bank.halves(reader.site, state.rows, 1).filter(|_| !self.acts(weights.point));
        let (shrink, delta) = halves.unzip();
        let (eps, centred) = self.norm_kind();
        let &NormWeights { weight, bias, point } = weights;
        self.push(ops::Norm { x, weight, bias, y, eps, centred, shrink });
        self.affine(point, y);
        delta
    }

    /// eps, and whether the norm centres.
    pub fn norm_kind(&self) -> (f32, bool) {
        match self.model.config.norm {
            Norm::Rms(eps) => (eps, false),
            Norm::Layer(eps) => (eps, true),
        }
    }

    /// Factor on the scores of a layer's attention, and its window.
    pub fn attention_shape(&self, l: usize) -> (f32, usize) {
        let config = &self.model.config;
        (1.0 / (config.head_dim as f32).sqrt(), config.windows[l].unwrap_or(0))
    }

    /// Whether adapters change an activation itself.
    fn acts(&self, point: usize) -> bool {
        self.model.bank.points.get(point).is_some_and(|point| point.enabled)
    }

    /// What adapters do to an activation itself, if any does.
    fn affine(&mut self, point: usize, x: TensorId) {
        if self.acts(point) {
            let Model { bank, state, .. } = self.model;
            let gains = bank.points[point].gains;
            self.push(ops::Affine { rows: state.rows, mixes: bank.mixes, gains, x });
        }
    }

    /// y = delta(x · Wᵀ) (+ bias) (+ y), one step per slice of W. The shrink that the delta reads
    /// has ridden along with an earlier step, or is a step of its own.
    fn linear(&mut self, x: TensorId, linear: &Linear, y: TensorId, accumulate: bool, ridden: Option<Delta>) {
        let Model { bank, state, .. } = self.model;
        let delta = ridden.or_else(|| {
            let (shrink, delta) = bank.halves(linear.site, state.rows, 1)?;
            self.push(ops::Shrink { x, shrink });
            Some(delta)
        });
        for &weight in &linear.weight.slices {
            self.push(ops::Linear { x, weight, bias: linear.bias, y, accumulate, delta });
        }
    }
}
