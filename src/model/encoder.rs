//! Plans of an encoder, a layer at a time: every position sees all, so keys and values of a whole text come
//! before its first query. Norms stand behind what they norm, as in arXiv:1706.03762, or in front.
//! Not the loop over a text's rows, which is the engine's.
//!
//! Between layers the states of a text lie by position in `stream`, so that a text may be longer than a run.

use crate::error::{Error, Result};
use crate::ops;
use crate::plan::{Dtype, Plan, Row, TensorId, Tensors};

use super::block::{Adapt, Block, Map};
use super::blueprint::Blueprint;
use super::forward::{self, Ride};
use super::steps::Steps;
use super::weights::{Layer, NormWeights};
use super::{MAX_ROWS, Model};

/// What an encoder has beside a decoder's tensors.
#[derive(Debug)]
pub(crate) struct Whole {
    /// (MAX_ROWS, 4) u32: rows as [`Row`](crate::plan::Row), at the position of the text's last token, up to
    /// which attention sees
    pub(crate) ends: TensorId,
    /// (MAX_ROWS, 4) u32: rows whose token is the first position that a layer with a window sees, and whose
    /// position is the last
    pub(crate) spans: TensorId,
    /// (S, C): states of one text, by position
    pub(crate) stream: TensorId,
}

impl Whole {
    pub(super) fn declare(config: &Blueprint, tensors: &mut Tensors, context: usize) -> Result<Self> {
        Ok(Self {
            ends: tensors.declare("ends", Dtype::U32, &[MAX_ROWS, size_of::<Row>() / 4])?,
            spans: tensors.declare("spans", Dtype::U32, &[MAX_ROWS, size_of::<Row>() / 4])?,
            stream: tensors.declare("stream", Dtype::F32, &[context, config.hidden_size])?,
        })
    }
}

/// stream = norm(embed(tokens))
pub(crate) fn embed(model: &Model, plan: &mut Plan) {
    let (whole, scratch) = (model.whole(), &model.scratch);
    let mut block = Block { steps: Steps::new(model, plan), adapt: Ride };
    forward::embed(&mut block.steps);
    match &model.weights.embed_norm {
        Some(norm) => {
            normed(&mut block, scratch.x, norm, scratch.xn);
            block.steps.keep(scratch.xn, whole.stream);
        }
        None => block.steps.keep(scratch.x, whole.stream),
    }
}

/// Keys and values of layer `l` into the cache.
pub(crate) fn keys(model: &Model, plan: &mut Plan, l: usize) {
    let (mut block, x) = recalled(model, plan);
    block.project(l, x);
}

/// stream = norm(h + mlp(h)), h = norm(x + attention(x)), x = stream; or, with norms in front,
/// stream = h + mlp(norm(h)), h = x + attention(norm(x)). Keys and values of other rows are there.
pub(crate) fn layer(model: &Model, plan: &mut Plan, l: usize) {
    let (whole, scratch, layer) = (model.whole(), &model.scratch, &model.weights.layers[l]);
    let in_front = model.config.norms_in_front();
    let (mut block, x) = recalled(model, plan);
    // Where the other is made: of two states one is normed.
    let h = if x == scratch.x { scratch.xn } else { scratch.x };
    block.project(l, x);
    let ridden = block.attend(l, layer);
    let delta = block.adapt.shrink(&mut block.steps, layer, Map::O, scratch.attended, ridden);
    block.steps.linear(scratch.attended, &layer.o, x, true, delta);
    let norm = if in_front { &layer.mlp_norm } else { &layer.attention_norm };
    normed(&mut block, x, norm.as_ref().expect(PRESENT), h);
    block.activate(layer, h);
    let delta = block.adapt.shrink(&mut block.steps, layer, Map::Down, scratch.hidden, None);
    let residual = if in_front { x } else { h };
    block.steps.linear(scratch.hidden, &layer.down, residual, true, delta);
    if !in_front {
        normed(&mut block, h, layer.mlp_norm.as_ref().expect(PRESENT), x);
    }
    block.steps.keep(x, whole.stream);
}

/// stream = norm(stream), behind the last layer.
pub(crate) fn end(model: &Model, plan: &mut Plan) {
    let (mut block, x) = recalled(model, plan);
    normed(&mut block, x, model.weights.last_norm(), model.scratch.xn);
    block.steps.keep(model.scratch.xn, model.whole().stream);
}

const PRESENT: &str = "an encoder has its norms";

/// A layer under construction, and where its input is.
fn recalled<'a>(model: &'a Model, plan: &'a mut Plan) -> (Block<'a, Ride>, TensorId) {
    let mut steps = Steps::new(model, plan);
    let x = if model.config.norms_in_front() { model.scratch.x } else { model.scratch.xn };
    steps.recall(x, model.whole().stream);
    (Block { steps, adapt: Ride }, x)
}

/// y = norm(x), and what adapters make of it.
fn normed(block: &mut Block<'_, Ride>, x: TensorId, norm: &NormWeights, y: TensorId) {
    block.steps.norm(x, norm, y, false, None);
    block.adapt.change(&mut block.steps, norm.point, y);
}

impl Model {
    /// What it has as an encoder. Panics if it is none.
    pub(crate) fn whole(&self) -> &Whole {
        self.state.whole.as_ref().expect("an encoder")
    }

    /// Errors with `Unsupported` for an encoder, which does not do `what`: `writes text`.
    pub(crate) fn check_decoder(&self, what: &str) -> Result<()> {
        match self.config.encoder {
            None => Ok(()),
            Some(_) => Err(Error::unsupported(format!(
                "a {} model is an encoder: it makes embeddings of texts, and {what} is not supported",
                self.config.family.model_type
            ))),
        }
    }

    /// What runs for one token: the plan that writes it, or those that an encoder reads it by.
    pub fn plans_of_a_token(&self) -> Vec<Plan> {
        if self.config.encoder.is_none() {
            return vec![self.decode(1)];
        }
        let of_layer = |l| [self.encode_keys(1, l), self.encode_layer(1, l)];
        let mut plans = vec![self.encode_embed(1)];
        plans.extend((0..self.config.layers.len()).flat_map(of_layer));
        if self.config.norms_in_front() {
            plans.push(self.encode_end(1));
        }
        plans
    }

    /// Embeds `n` rows.
    pub(crate) fn encode_embed(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        embed(self, &mut plan);
        plan
    }

    /// Keys and values of `n` rows of layer `l`, once all layers before it have run on all rows.
    pub(crate) fn encode_keys(&self, n: usize, l: usize) -> Plan {
        let mut plan = Plan::new(n);
        keys(self, &mut plan, l);
        plan
    }

    /// The norm behind the last layer of `n` rows; [`Blueprint::norms_in_front`] tells whether there is one.
    pub(crate) fn encode_end(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        end(self, &mut plan);
        plan
    }

    /// Layer `l` on `n` rows, once keys and values of all other rows are there.
    pub(crate) fn encode_layer(&self, n: usize, l: usize) -> Plan {
        let mut plan = Plan::new(n);
        layer(self, &mut plan, l);
        plan
    }
}

impl Block<'_, Ride> {
    /// [q; k; v] = qkv · x, or of norm(x) where norms are in front; k and v go into the cache.
    fn project(&mut self, l: usize, x: TensorId) {
        let Model { config, weights, scratch, .. } = self.steps.model;
        let layer = &weights.layers[l];
        let x = if config.norms_in_front() && l > 0 {
            normed(self, x, layer.attention_norm.as_ref().expect(PRESENT), scratch.xn);
            scratch.xn
        } else {
            x
        };
        self.linear(layer, Map::Qkv, x, scratch.qkv, None);
        self.split(l, scratch.qkv);
    }

    /// hidden = act(up · x)
    fn activate(&mut self, layer: &Layer, x: TensorId) {
        let Model { config, scratch, .. } = self.steps.model;
        self.linear(layer, Map::Up, x, scratch.up, None);
        let (kind, gated) = (config.activation, config.gated);
        self.steps.push(ops::Activation { x: scratch.up, y: scratch.hidden, kind, gated });
        self.adapt.change(&mut self.steps, layer.down_input, scratch.hidden);
    }
}
