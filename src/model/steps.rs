//! A plan under construction, and the steps that more than one file adds to it. What a layer is
//! made of is `block`'s.

use crate::ops::{self, AttentionInputs, Delta, DownProjection, Op};
use crate::plan::{Plan, SPAN, TensorId};

use super::blueprint::Norm;
use super::weights::{Linear, NormWeights};
use super::{Model, Scratch};

/// A plan under construction.
pub(super) struct Steps<'a> {
    pub(crate) model: &'a Model,
    pub(crate) plan: &'a mut Plan,
    /// Where a layer's activations go.
    pub(crate) scratch: Scratch,
    /// What is there already: steps that write nothing else are left out.
    pub(crate) there: Vec<TensorId>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(model: &'a Model, plan: &'a mut Plan) -> Self {
        Self { model, plan, scratch: model.scratch, there: Vec::new() }
    }
}

impl Steps<'_> {
    pub(crate) fn push(&mut self, op: impl Into<Op>) {
        let op = op.into();
        if !op.writes().iter().all(|written| self.there.contains(written)) {
            self.plan.push(&self.model.tensors, op);
        }
    }

    /// y = norm(x) (+ y), and what rides along.
    pub(crate) fn norm(
        &mut self,
        x: TensorId,
        weights: &NormWeights,
        y: TensorId,
        accumulate: bool,
        shrink: Option<DownProjection>,
    ) {
        let (eps, centred) = match self.model.config.norm {
            Norm::Rms(eps) => (eps, false),
            Norm::Layer(eps) => (eps, true),
        };
        let &NormWeights { weight, bias, .. } = weights;
        self.push(ops::Norm { x, weight, bias, y, eps, centred, accumulate, shrink });
    }

    /// y = delta(x · Wᵀ) (+ bias) (+ y), one step per slice of W
    pub(crate) fn linear(
        &mut self,
        x: TensorId,
        linear: &Linear,
        y: TensorId,
        accumulate: bool,
        delta: Option<Delta>,
    ) {
        for &weight in &linear.weight.slices {
            self.push(ops::Linear { x, weight, bias: linear.bias, y, accumulate, delta });
        }
    }

    /// What a layer's attention reads, its scale and its window.
    pub(crate) fn attention(&self, l: usize) -> AttentionInputs {
        let Self { model: Model { config, state, .. }, scratch, .. } = self;
        let (k_cache, v_cache) = state.cache[l];
        let (rows, window) = match (&state.whole, config.layers[l].window) {
            (None, window) => (state.rows, window.unwrap_or(0)),
            (Some(whole), None) => (whole.ends, 0),
            (Some(whole), Some(_)) => (whole.spans, SPAN),
        };
        AttentionInputs {
            rows,
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim: config.head_dim,
            scale: config.attention_scale,
            cap: config.scales.attention_cap,
            window,
        }
    }
}
