//! Plans of an encoder, a layer at a time: every position sees all, so keys and values of a whole text come
//! before its first query. Norms stand behind what they norm, as in arXiv:1706.03762.
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
    /// (S, C): states of one text, by position
    pub(crate) stream: TensorId,
}

impl Whole {
    pub(super) fn declare(config: &Blueprint, tensors: &mut Tensors, context: usize) -> Result<Self> {
        Ok(Self {
            ends: tensors.declare("ends", Dtype::U32, &[MAX_ROWS, size_of::<Row>() / 4])?,
            stream: tensors.declare("stream", Dtype::F32, &[context, config.hidden_size])?,
        })
    }
}

/// stream = norm(embed(tokens))
pub(crate) fn embed(model: &Model, plan: &mut Plan) {
    let (whole, scratch) = (model.whole(), &model.scratch);
    let mut block = Block { steps: Steps { model, plan }, adapt: Ride };
    forward::embed(&mut block.steps);
    match &model.weights.embed_norm {
        Some(norm) => {
            behind(&mut block, scratch.x, Some(norm), scratch.xn);
            block.steps.keep(scratch.xn, whole.stream);
        }
        None => block.steps.keep(scratch.x, whole.stream),
    }
}

/// Keys and values of layer `l` into the cache.
pub(crate) fn keys(model: &Model, plan: &mut Plan, l: usize) {
    let mut block = recalled(model, plan);
    block.project(l, model.scratch.xn);
}

/// stream = norm(h + mlp(h)), h = norm(x + attention(x)), x = stream; keys and values of other rows are there.
pub(crate) fn layer(model: &Model, plan: &mut Plan, l: usize) {
    let (whole, scratch, layer) = (model.whole(), &model.scratch, &model.weights.layers[l]);
    let (x, h) = (scratch.xn, scratch.x);
    let mut block = recalled(model, plan);
    block.project(l, x);
    let ridden = block.attend(l, layer);
    let delta = block.adapt.shrink(&mut block.steps, layer, Map::O, scratch.attended, ridden);
    block.steps.linear(scratch.attended, &layer.o, x, true, delta);
    behind(&mut block, x, layer.attention_norm.as_ref(), h);
    block.activate(layer, h, None);
    let delta = block.adapt.shrink(&mut block.steps, layer, Map::Down, scratch.hidden, None);
    block.steps.linear(scratch.hidden, &layer.down, h, true, delta);
    behind(&mut block, h, layer.mlp_norm.as_ref(), x);
    block.steps.keep(x, whole.stream);
}

/// A layer under construction, its input in `xn`.
fn recalled<'a>(model: &'a Model, plan: &'a mut Plan) -> Block<'a, Ride> {
    let mut steps = Steps { model, plan };
    steps.recall(model.scratch.xn, model.whole().stream);
    Block { steps, adapt: Ride }
}

/// y = norm(x), and what adapters make of it. More than one map reads it, and so does the residual stream.
fn behind(block: &mut Block<'_, Ride>, x: TensorId, norm: Option<&NormWeights>, y: TensorId) {
    let norm = norm.expect("an encoder has its norms");
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

    /// Layer `l` on `n` rows, once keys and values of all other rows are there.
    pub(crate) fn encode_layer(&self, n: usize, l: usize) -> Plan {
        let mut plan = Plan::new(n);
        layer(self, &mut plan, l);
        plan
    }
}

impl Block<'_, Ride> {
    /// [q; k; v] = qkv · x; k and v go into the cache.
    fn project(&mut self, l: usize, x: TensorId) {
        let Model { weights, scratch, .. } = self.steps.model;
        let layer = &weights.layers[l];
        self.linear(layer, Map::Qkv, x, scratch.qkv, None);
        self.split(l, scratch.qkv);
    }

    /// hidden = act(up · x)
    fn activate(&mut self, layer: &Layer, x: TensorId, ridden: Option<ops::Delta>) {
        let Model { config, scratch, .. } = self.steps.model;
        self.linear(layer, Map::Up, x, scratch.up, ridden);
        let (kind, gated) = (config.activation, config.gated);
        self.steps.push(ops::Activation { x: scratch.up, y: scratch.hidden, kind, gated });
        self.adapt.change(&mut self.steps, layer.down_input, scratch.hidden);
    }
}
