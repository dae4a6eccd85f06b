//! One layer of the decoder, written once: attention and MLP (arXiv:1706.03762, with the norm moved
//! in front of each). No embedding, no head and no way back; how adapters take part is [`Adapt`]'s.
//! Its steps are a plan, `src/kernels/plan.rs`.

use crate::ops::{self, Delta, DownProjection};
use crate::plan::{FEW_ROWS, TensorId};

use super::Model;
use super::steps::Steps;
use super::weights::{HeadNorms, Layer, Linear, NormWeights};

/// A layer under construction, in which adapters take part in one way or another.
pub(super) struct Block<'a, A> {
    pub(crate) steps: Steps<'a>,
    pub(crate) adapt: A,
}

impl<A: Adapt> Block<'_, A> {
    /// x = h + mlp(h), h = x + attention(x); returns where h, and then x, is
    pub(crate) fn layer(&mut self, l: usize) -> TensorId {
        let h = self.attention(l);
        self.mlp(l, h);
        h
    }

    /// h = x + o · attend(q, k, v), [q; k; v] = qkv · norm(x); returns where h is
    pub(crate) fn attention(&mut self, l: usize) -> TensorId {
        let Model { weights, scratch, .. } = self.steps.model;
        let layer = &weights.layers[l];
        let ridden = self.norm(scratch.x, &layer.attention_norm, scratch.xn, &layer.qkv);
        self.linear(layer, Map::Qkv, scratch.xn, scratch.qkv, ridden);
        let qkv = self.head_norm(layer);
        self.split(l, qkv);
        let ridden = self.attend(l, layer);
        let delta = self.adapt.shrink(&mut self.steps, layer, Map::O, scratch.attended, ridden);
        let h = self.adapt.residual(&mut self.steps, l);
        self.steps.linear(scratch.attended, &layer.o, h, true, delta);
        h
    }

    /// h += down · hidden(h)
    fn mlp(&mut self, l: usize, h: TensorId) {
        let Model { weights, scratch, .. } = self.steps.model;
        let layer = &weights.layers[l];
        self.mlp_hidden(l, h);
        let delta = self.adapt.shrink(&mut self.steps, layer, Map::Down, scratch.hidden, None);
        self.steps.linear(scratch.hidden, &layer.down, h, true, delta);
    }

    /// hidden = act(gate · norm(h)) ∘ (up · norm(h)), or act(up · norm(h)) without a gate
    pub(crate) fn mlp_hidden(&mut self, l: usize, h: TensorId) {
        let Model { config, weights, scratch, .. } = self.steps.model;
        let (layer, normed) = (&weights.layers[l], self.adapt.mlp_input(self.steps.model));
        let ridden = self.norm(h, &layer.mlp_norm, normed, &layer.up);
        self.linear(layer, Map::Up, normed, scratch.up, ridden);
        let (kind, gated) = (config.activation, config.gated);
        self.steps.push(ops::Activation { x: scratch.up, y: scratch.hidden, kind, gated });
        self.adapt.change(&mut self.steps, layer.down_input, scratch.hidden);
    }

    /// [norm(q) | norm(k) | v], head by head, where a layer has such norms; returns where they are
    fn head_norm(&mut self, layer: &Layer) -> TensorId {
        let Model { config, scratch, .. } = self.steps.model;
        let (Some(norms), Some(y)) = (&layer.head_norms, scratch.heads) else { return scratch.qkv };
        let &HeadNorms { weights, eps, point } = norms;
        self.steps.push(ops::HeadNorm {
            qkv: scratch.qkv,
            weights,
            y,
            q_heads: config.num_attention_heads,
            eps,
        });
        self.adapt.change(&mut self.steps, point, y);
        y
    }

    /// q and k rotated by their positions; k and v go into the cache.
    pub(crate) fn split(&mut self, l: usize, qkv: TensorId) {
        let Model { config, state, scratch, .. } = self.steps.model;
        let (k_cache, v_cache) = state.cache[l];
        self.steps.push(ops::SplitQkv {
            rows: state.rows,
            qkv,
            rope: state.rope(config, l),
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim: config.head_dim,
        });
    }

    /// attended = softmax(scale · q · Kᵀ) · V over the keys in the layer's window
    pub(crate) fn attend(&mut self, l: usize, layer: &Layer) -> Option<Delta> {
        let Model { config, scratch, .. } = self.steps.model;
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
            window: inputs.window,
            shrink,
        });
        self.adapt.change(&mut self.steps, layer.o_input, scratch.attended);
        delta
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
        self.steps.norm(x, weights, y, shrink);
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
    fn residual(&mut self, steps: &mut Steps<'_>, l: usize) -> TensorId;

    /// Where what the MLP reads is made.
    fn mlp_input(&self, model: &Model) -> TensorId;
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
