//! One layer of the decoder, written once: attention and MLP (arXiv:1706.03762, with the norm moved
//! in front of each). No embedding, no head and no way back; how adapters take part is [`Adapt`]'s.
//! Its steps are a plan, `src/kernels/plan.rs`.

use crate::ops::{self, Delta, DownProjection};
use crate::plan::{FEW_ROWS, TensorId};

use super::Model;
use super::blueprint::Order;
use super::steps::Steps;
use super::weights::{HeadNorms, Layer, Linear, NormWeights};

/// A layer under construction, in which adapters take part in one way or another.
pub(super) struct Block<'a, A> {
    pub(crate) steps: Steps<'a>,
    pub(crate) adapt: A,
}

impl<A: Adapt> Block<'_, A> {
    /// x = h + down · hidden, h = x + o · attended; returns where x is
    pub(crate) fn layer(&mut self, l: usize) -> TensorId {
        let h = self.hidden(l);
        let (layer, scratch) = (&self.steps.model.weights.layers[l], self.steps.scratch);
        let delta = self.adapt.shrink(&mut self.steps, layer, Map::Down, scratch.hidden, None);
        let x = self.adapt.output(&mut self.steps, h);
        self.join(scratch.hidden, &layer.down, layer.mlp_post_norm.as_ref(), x, delta);
        x
    }

    /// All of a layer but its last map: h = x + o · attended, and hidden of h, or of x where feed-forward stands
    /// beside attention; returns where h is.
    pub(crate) fn hidden(&mut self, l: usize) -> TensorId {
        let Model { config, weights, .. } = self.steps.model;
        let (layer, scratch) = (&weights.layers[l], self.steps.scratch);
        let (x, ridden) = self.normed(scratch.x, layer.attention_norm.as_ref(), scratch.xn, &layer.qkv);
        self.linear(layer, Map::Qkv, x, scratch.qkv, ridden);
        if config.order == Order::Serial {
            let h = self.attention(l);
            self.mlp_hidden(l, h);
            return h;
        }
        // Before attention changes x, and with it what one norm made of x.
        self.mlp_hidden(l, if layer.mlp_norm.is_some() { scratch.x } else { x });
        self.attention(l)
    }

    /// h = x + o · attend(q, k, v) of [q; k; v]; returns where h is. Behind o there may be a norm.
    fn attention(&mut self, l: usize) -> TensorId {
        let (layer, scratch) = (&self.steps.model.weights.layers[l], self.steps.scratch);
        let qkv = self.head_norm(layer);
        self.split(l, qkv);
        let ridden = self.attend(l, layer);
        let delta = self.adapt.shrink(&mut self.steps, layer, Map::O, scratch.attended, ridden);
        let h = self.adapt.residual(&mut self.steps);
        self.join(scratch.attended, &layer.o, layer.attention_post_norm.as_ref(), h, delta);
        h
    }

    /// h += linear · x, normed or scaled on the way if the model has it so
    fn join(
        &mut self,
        x: TensorId,
        linear: &Linear,
        norm: Option<&NormWeights>,
        h: TensorId,
        delta: Option<Delta>,
    ) {
        let Steps { model: Model { config, .. }, scratch, .. } = self.steps;
        let Some(branch) = scratch.branch else { return self.steps.linear(x, linear, h, true, delta) };
        self.steps.linear(x, linear, branch, false, delta);
        let add = |x, scale| ops::Scale { x, y: h, scale, accumulate: true };
        match norm {
            None => self.steps.push(add(branch, config.scales.residual)),
            Some(norm) if self.adapt.changes(self.steps.model, norm.point) => {
                self.steps.norm(branch, norm, scratch.xn, false, None);
                self.adapt.change(&mut self.steps, norm.point, scratch.xn);
                self.steps.push(add(scratch.xn, 1.0));
            }
            Some(norm) => self.steps.norm(branch, norm, h, true, None),
        }
    }

    /// hidden = act(gate · norm(h)) ∘ (up · norm(h)), or act(up · norm(h)) without a gate
    fn mlp_hidden(&mut self, l: usize, h: TensorId) {
        let Steps { model: Model { config, weights, .. }, scratch, .. } = self.steps;
        let (layer, normed) = (&weights.layers[l], self.adapt.mlp_input(&self.steps));
        let (x, ridden) = self.normed(h, layer.mlp_norm.as_ref(), normed, &layer.up);
        self.linear(layer, Map::Up, x, scratch.up, ridden);
        let (kind, gated) = (config.activation, config.gated);
        self.steps.push(ops::Activation { x: scratch.up, y: scratch.hidden, kind, gated });
        self.adapt.change(&mut self.steps, layer.down_input, scratch.hidden);
    }

    /// [norm(q) | norm(k) | v], head by head, where a layer has such norms; returns where they are
    fn head_norm(&mut self, layer: &Layer) -> TensorId {
        let scratch = self.steps.scratch;
        let (Some(norms), Some(y)) = (&layer.head_norms, scratch.heads) else { return scratch.qkv };
        let &HeadNorms { weights, q_heads, eps, point } = norms;
        self.steps.push(ops::HeadNorm { qkv: scratch.qkv, weights, y, q_heads, eps });
        self.adapt.change(&mut self.steps, point, y);
        y
    }

    /// q and k rotated by their positions; k and v go into the cache.
    pub(crate) fn split(&mut self, l: usize, qkv: TensorId) {
        let Steps { model: Model { config, state, .. }, scratch, .. } = self.steps;
        let (k_cache, v_cache) = state.cache[l];
        self.steps.push(ops::SplitQkv {
            rows: state.rows,
            qkv,
            rope: state.rope(config, l),
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim: config.head_dim,
            grouped: config.qkv_grouped,
            neighbours: config.neighbours,
            growth: config.scales.growth,
        });
    }

    /// attended = softmax(scale · q · Kᵀ) · V, scores capped if the model has it so, over the keys in the layer's
    /// window
    pub(crate) fn attend(&mut self, l: usize, layer: &Layer) -> Option<Delta> {
        let Steps { model: Model { config, .. }, scratch, .. } = self.steps;
        let inputs = self.steps.attention(l);
        // Of few rows the shrink can ride, head by head.
        let rides = self.steps.plan.n() <= FEW_ROWS;
        let ride = |adapt: &A| adapt.ride(&self.steps, &layer.o, layer.o_input, config.num_attention_heads);
        let (shrink, delta) = rides.then(|| ride(&self.adapt)).flatten().unzip();
        // Of the same mixes, if an encoder's rows end elsewhere.
        let shrink = shrink.map(|shrink| DownProjection { rows: inputs.rows, ..shrink });
        self.steps.push(ops::Attention {
            rows: inputs.rows,
            q: inputs.q,
            k_cache: inputs.k_cache,
            v_cache: inputs.v_cache,
            y: scratch.attended,
            head_dim: inputs.head_dim,
            scale: inputs.scale,
            cap: inputs.cap,
            window: inputs.window,
            shrink,
        });
        self.adapt.change(&mut self.steps, layer.o_input, scratch.attended);
        delta
    }

    /// Where norm(x) is, or x itself where there is no norm, and the delta that has ridden.
    fn normed(
        &mut self,
        x: TensorId,
        norm: Option<&NormWeights>,
        y: TensorId,
        reader: &Linear,
    ) -> (TensorId, Option<Delta>) {
        match norm {
            Some(norm) => (y, self.norm(x, norm, y, reader)),
            None => (x, None),
        }
    }

    /// y = norm(x), and with it the shrink of the map that reads y, if it can ride.
    pub(crate) fn norm(
        &mut self,
        x: TensorId,
        weights: &NormWeights,
        y: TensorId,
        reader: &Linear,
    ) -> Option<Delta> {
        let (shrink, delta) = self.adapt.ride(&self.steps, reader, weights.point, 1).unzip();
        self.steps.norm(x, weights, y, false, shrink);
        self.adapt.change(&mut self.steps, weights.point, y);
        delta
    }

    /// y = delta(map · x)
    pub(crate) fn linear(
        &mut self,
        layer: &Layer,
        map: Map,
        x: TensorId,
        y: TensorId,
        ridden: Option<Delta>,
    ) {
        let delta = self.adapt.shrink(&mut self.steps, layer, map, x, ridden);
        self.steps.linear(x, map.of(layer), y, false, delta);
    }
}

/// How adapters take part in a layer.
pub(super) trait Adapt {
    /// The shrink of `reader`, as `partials` sums, and its delta, if it can ride in the step that makes
    /// what `reader` reads: an activation that adapters change themselves at `point`.
    fn ride(
        &self,
        steps: &Steps<'_>,
        reader: &Linear,
        point: usize,
        partials: usize,
    ) -> Option<(DownProjection, Delta)>;

    /// Whether adapters change the activation at `point` itself.
    fn changes(&self, model: &Model, point: usize) -> bool;

    /// x ← x ∘ (1 + gain) + shift, where adapters change an activation itself.
    fn change(&mut self, steps: &mut Steps<'_>, point: usize, x: TensorId);

    /// z = A·x of a map's adapters, unless it has ridden; returns what reads z.
    fn shrink(
        &mut self,
        steps: &mut Steps<'_>,
        layer: &Layer,
        map: Map,
        x: TensorId,
        ridden: Option<Delta>,
    ) -> Option<Delta>;

    /// Where the attention is added to the residual stream: to x itself, or to a copy of it.
    fn residual(&mut self, steps: &mut Steps<'_>) -> TensorId;

    /// Where feed-forward is added to it: to h itself, or to a copy of it.
    fn output(&mut self, steps: &mut Steps<'_>, h: TensorId) -> TensorId;

    /// Where what the MLP reads is made.
    fn mlp_input(&self, steps: &Steps<'_>) -> TensorId;
}

/// The linear maps of a layer that adapters act on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Map {
    /// [q; k; v]
    Qkv,
    /// From attended values to the residual stream.
    O,
    /// [gate; up], or up alone
    Up,
    /// From the MLP to the residual stream.
    Down,
}

impl Map {
    /// Its weights in a layer.
    pub(crate) fn of(self, layer: &Layer) -> &Linear {
        match self {
            Self::Qkv => &layer.qkv,
            Self::O => &layer.o,
            Self::Up => &layer.up,
            Self::Down => &layer.down,
        }
    }
}
