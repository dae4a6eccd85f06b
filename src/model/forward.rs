//! The forward pass, step by step: a pre-norm decoder (arXiv:1706.03762 with the norm moved
//! in front of each block). Families differ by what `config` switches.

use crate::config::Norm;
use crate::plan::{Delta, Op, Plan, TensorId};

use super::Model;
use super::weights::{Layer, Linear, NormWeights};

/// x = embed(tokens); per layer x += attention(norm(x)), x += mlp(norm(x))
pub fn layers(model: &Model, plan: &mut Plan) {
    let mut steps = Steps { model, plan };
    steps.embed();
    for (l, layer) in model.weights.layers.iter().enumerate() {
        steps.attention(l, layer);
        steps.mlp(layer);
    }
}

/// logits = norm(x) · headᵀ
pub fn head(model: &Model, plan: &mut Plan) {
    let mut steps = Steps { model, plan };
    let (scratch, weights) = (&model.scratch, &model.weights);
    steps.norm(scratch.x, &weights.norm, scratch.xn);
    steps.linear(scratch.xn, &weights.head, model.state.logits, false);
}

/// The next tokens, drawn from the logits.
pub fn sample(model: &Model, plan: &mut Plan) {
    let state = &model.state;
    let op = Op::Sample {
        logits: state.logits,
        sampling: state.sampling,
        seen: state.seen,
        rows: state.rows,
        ring: state.ring,
    };
    plan.push(&model.tensors, op);
}

struct Steps<'a> {
    model: &'a Model,
    plan: &'a mut Plan,
}

impl Steps<'_> {
    fn push(&mut self, op: Op) {
        self.plan.push(&self.model.tensors, op);
    }

    fn embed(&mut self) {
        let weights = &self.model.weights;
        for &table in &weights.embed.slices {
            self.push(Op::Embed {
                rows: self.model.state.rows,
                table,
                positions: weights.positions,
                y: self.model.scratch.x,
            });
        }
    }

    /// x += o · attend(split(qkv · norm(x)))
    fn attention(&mut self, l: usize, layer: &Layer) {
        let Model { config, state, scratch, .. } = self.model;
        let (k_cache, v_cache) = state.cache[l];
        let head_dim = config.head_dim;
        self.norm(scratch.x, &layer.attention_norm, scratch.xn);
        self.linear(scratch.xn, &layer.qkv, scratch.qkv, false);
        self.push(Op::SplitQkv {
            rows: state.rows,
            qkv: scratch.qkv,
            rope: state.rope,
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim,
        });
        self.push(Op::Attention {
            rows: state.rows,
            q: scratch.q,
            k_cache,
            v_cache,
            y: scratch.attended,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: config.windows[l].unwrap_or(0),
        });
        self.affine(layer.o_input, scratch.attended);
        self.linear(scratch.attended, &layer.o, scratch.x, true);
    }

    /// x += down · act(up · norm(x)), or x += down · (act(gate · norm(x)) ∘ (up · norm(x)))
    fn mlp(&mut self, layer: &Layer) {
        let Model { config, scratch, .. } = self.model;
        self.norm(scratch.x, &layer.mlp_norm, scratch.xn);
        self.linear(scratch.xn, &layer.up, scratch.up, false);
        self.push(Op::Activation {
            x: scratch.up,
            y: scratch.hidden,
            kind: config.activation,
            gated: config.gated,
        });
        self.affine(layer.down_input, scratch.hidden);
        self.linear(scratch.hidden, &layer.down, scratch.x, true);
    }

    fn norm(&mut self, x: TensorId, weights: &NormWeights, y: TensorId) {
        let weight = weights.weight;
        self.push(match (self.model.config.norm, weights.bias) {
            (Norm::Layer(eps), Some(bias)) => Op::LayerNorm { x, weight, bias, y, eps },
            (Norm::Layer(eps) | Norm::Rms(eps), _) => Op::RmsNorm { x, weight, y, eps },
        });
        self.affine(weights.point, y);
    }

    /// What adapters do to an activation itself, if any does.
    fn affine(&mut self, point: usize, x: TensorId) {
        let Model { bank, state, .. } = self.model;
        if let Some(point) = bank.points.get(point).filter(|point| point.enabled) {
            self.push(Op::Affine { rows: state.rows, mixes: bank.mixes, gains: point.gains, x });
        }
    }

    /// y = delta(x · Wᵀ) (+ bias) (+ y), one step per slice of W; before it, if adapters act
    /// here, the shrink that its delta reads.
    fn linear(&mut self, x: TensorId, linear: &Linear, y: TensorId, accumulate: bool) {
        let Model { bank, state, .. } = self.model;
        let delta = bank.delta(linear.site, state.rows).map(|(a, delta)| {
            let Delta { rows, mixes, z, ranks, .. } = delta;
            self.push(Op::Shrink { rows, mixes, x, a, z, ranks });
            delta
        });
        for &weight in &linear.weight.slices {
            self.push(Op::Linear { x, weight, bias: linear.bias, y, accumulate, delta });
        }
    }
}
