//! Training, step by step: the forward pass with its checkpoints, and the way back.
//!
//! A window is run in tiles of rows. Forward goes tile by tile and layer by layer, backward layer
//! by layer and tile by tile, both in reverse: when a tile's turn comes, all later tiles have
//! added to the gradients of its keys and values. Between plans everything lies by position.

use crate::config::Norm;
use crate::ops::{self, AttentionInputs, Delta, DownProjection, Slice, part_columns};
use crate::plan::{Plan, TensorId};

use super::Model;
use super::forward::Steps;
use super::training::{Core, Trainee, Training};
use super::weights::{Layer, Linear, NormWeights};

/// The four adapted maps of a layer, as [`Training`]'s scratch counts them.
#[derive(Clone, Copy)]
enum Map {
    Qkv,
    O,
    Up,
    Down,
}

/// What a map's adapters read, and what lies in z.
#[derive(Clone, Copy)]
struct Adapted {
    shrink: DownProjection,
    delta: Delta,
    /// The shrink's input.
    input: TensorId,
}

/// Rows of the window to the first layer's input.
pub fn embed(model: &Model, plan: &mut Plan) {
    let mut steps = Steps { model, plan };
    steps.embed();
    keep(&mut steps, model.scratch.x, model.training.checkpoints[0]);
}

/// One layer, from checkpoint to checkpoint, its keys and values into the cache.
pub fn layer(model: &Model, plan: &mut Plan, l: usize) {
    let mut back = Backward { steps: Steps { model, plan }, l };
    back.recall(model.scratch.x, model.training.checkpoints[l]);
    back.until_hidden();
    let (scratch, layer) = (&model.scratch, &model.weights.layers[l]);
    let adapted = back.adapted(Map::Down, &layer.down, scratch.hidden);
    let middle = model.training.scratch.middle;
    back.linear(scratch.hidden, &layer.down, middle, true, adapted);
    keep(&mut back.steps, middle, model.training.checkpoints[l + 1]);
}

/// Losses of the rows' targets, and the gradient by the last layer's output.
pub fn head(model: &Model, plan: &mut Plan) {
    let Model { state, scratch, weights, training, .. } = model;
    let t = &training.scratch;
    let mut back = Backward { steps: Steps { model, plan }, l: weights.layers.len() };
    back.recall(scratch.x, training.checkpoints[weights.layers.len()]);
    super::forward::head_of(&mut back.steps);
    back.steps.push(ops::CrossEntropy {
        training: training.numbers,
        targets: training.targets,
        logits: state.logits,
        loss: t.loss,
    });
    keep(&mut back.steps, t.loss, training.losses);
    back.linear_grad(state.logits, &weights.head, t.dxn, false);
    if let Some((_, delta)) = model.bank.halves(weights.head.site, state.rows, 1) {
        back.adapters_grad(weights.head.site, delta, state.logits, t.dxn);
    }
    back.recall(t.dx, training.gradients);
    back.norm_grad(scratch.x, &weights.norm, t.dxn);
    keep(&mut back.steps, t.dx, training.gradients);
}

/// One layer back: gradients of its adapters, and the gradient by its input.
pub fn backward(model: &Model, plan: &mut Plan, l: usize) {
    let Model { state, scratch, training, weights, .. } = model;
    let (t, layer) = (&training.scratch, &weights.layers[l]);
    let mut back = Backward { steps: Steps { model, plan }, l };
    back.recall(scratch.x, training.checkpoints[l]);
    let [qkv, o, up] = back.until_hidden();
    let down = back.adapted(Map::Down, &layer.down, scratch.hidden);
    back.recall(t.dx, training.gradients);
    back.map_grad(Map::Down, &layer.down, down, t.dx, t.dhidden);
    back.steps.push(ops::ActivationGrad {
        x: scratch.up,
        dy: t.dhidden,
        dx: t.dup,
        kind: model.config.activation,
        gated: model.config.gated,
    });
    back.map_grad(Map::Up, &layer.up, up, t.dup, t.dxn);
    back.norm_grad(t.middle, &layer.mlp_norm, t.dxn);
    back.map_grad(Map::O, &layer.o, o, t.dx, t.dattended);
    let (forward, stats) = (back.attention_inputs(), t.stats);
    let [dk_cache, dv_cache] = training.cache;
    back.steps.push(ops::AttentionGradQ { forward, dy: t.dattended, dq: t.dq, stats });
    back.steps.push(ops::AttentionGradKv { forward, dy: t.dattended, stats, dk_cache, dv_cache });
    back.steps.push(ops::SplitQkvGrad {
        rows: state.rows,
        dq: t.dq,
        dk_cache,
        dv_cache,
        rope: state.rope,
        dqkv: t.dqkv,
        head_dim: model.config.head_dim,
    });
    back.map_grad(Map::Qkv, &layer.qkv, qkv, t.dqkv, t.dxn);
    back.norm_grad(scratch.x, &layer.attention_norm, t.dxn);
    keep(&mut back.steps, t.dx, training.gradients);
}

/// A step of AdamW on all that the trainee has, by gradients clipped together; for
/// [`Trainee::update_rows`] rows.
pub fn update(model: &Model, plan: &mut Plan) {
    let Model { training, bank, .. } = model;
    let trainee = trainee(training);
    let mut steps = Steps { model, plan };
    for (i, moments) in training.moments.iter().enumerate() {
        for (half, g) in moments.g.into_iter().enumerate() {
            steps.push(ops::SquareSum { g, sums: training.sums, index: 2 * i + half });
        }
    }
    for ((site, parts), moments) in trainee.sites.iter().zip(&training.moments) {
        let site = &bank.sites[*site];
        let parts: Vec<usize> = (0..parts.len()).filter(|&part| parts[part]).collect();
        let mut adam = |half: usize, g_first: usize, param: TensorId, param_first: usize, len: usize| {
            steps.push(ops::AdamW {
                training: training.numbers,
                sums: training.sums,
                g: moments.g[half],
                m: moments.m[half],
                v: moments.v[half],
                g_first,
                param,
                param_first,
                len,
            });
        };
        let (c, f, count) = (site.inputs, site.outputs(), trainee.count);
        let row_of_a = |part: usize| part * bank.room.ranks + trainee.first;
        if trainee.cores {
            for &part in &parts {
                adam(0, part * count * count, moments.cores[part].r, 0, count * count);
            }
            // A = R·A₀
            for part in parts {
                let Core { r, a } = moments.cores[part];
                let weight = Slice { tensor: a, first: 0 };
                let (dx, dx_first) = (site.a, row_of_a(part));
                steps.push(ops::LinearGrad { dy: r, weight, dx, dx_first, accumulate: false });
            }
            continue;
        }
        for part in parts {
            adam(0, part * count * c, site.a, row_of_a(part) * c, count * c);
        }
        adam(1, 0, site.b, trainee.first * f, count * f);
    }
}

fn trainee(training: &Training) -> &Trainee {
    training.trainee.as_ref().expect("plans of training are made for a trainee")
}

/// By position: y[pos] = x
fn keep(steps: &mut Steps<'_>, x: TensorId, y: TensorId) {
    let rows = steps.model.state.rows;
    steps.push(ops::KeepRows { rows, x, y });
}

struct Backward<'a> {
    steps: Steps<'a>,
    l: usize,
}

impl Backward<'_> {
    /// x = y[pos]
    fn recall(&mut self, x: TensorId, y: TensorId) {
        let rows = self.steps.model.state.rows;
        self.steps.push(ops::RecallRows { rows, y, x });
    }

    /// From the layer's input x to `hidden`, and `middle` = x + attention. Returns what the
    /// adapters of qkv, o and up read.
    fn until_hidden(&mut self) -> [Option<Adapted>; 3] {
        let model = self.steps.model;
        let Model { config, state, scratch, weights, training, .. } = model;
        let layer: &Layer = &weights.layers[self.l];
        let middle = training.scratch.middle;
        let (k_cache, v_cache) = state.cache[self.l];
        self.norm(scratch.x, &layer.attention_norm, scratch.xn);
        let qkv = self.adapted(Map::Qkv, &layer.qkv, scratch.xn);
        self.linear(scratch.xn, &layer.qkv, scratch.qkv, false, qkv);
        let (rows, head_dim) = (state.rows, config.head_dim);
        self.steps.push(ops::SplitQkv {
            rows,
            qkv: scratch.qkv,
            rope: state.rope,
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim,
        });
        let AttentionInputs { q, scale, window, .. } = self.attention_inputs();
        let y = scratch.attended;
        self.steps.push(ops::Attention {
            rows,
            q,
            k_cache,
            v_cache,
            y,
            head_dim,
            scale,
            window,
            shrink: None,
        });
        let o = self.adapted(Map::O, &layer.o, y);
        self.recall(middle, training.checkpoints[self.l]);
        self.linear(y, &layer.o, middle, true, o);
        // `xn` is the input of qkv's adapters no longer once the second norm is in it.
        self.norm(middle, &layer.mlp_norm, training.scratch.normed);
        let up = self.adapted(Map::Up, &layer.up, training.scratch.normed);
        self.linear(training.scratch.normed, &layer.up, scratch.up, false, up);
        let (kind, gated) = (config.activation, config.gated);
        self.steps.push(ops::Activation { x: scratch.up, y: scratch.hidden, kind, gated });
        [qkv, o, up]
    }

    fn attention_inputs(&self) -> AttentionInputs {
        let Model { config, state, scratch, .. } = self.steps.model;
        let (k_cache, v_cache) = state.cache[self.l];
        let (scale, window) = self.steps.attention_shape(self.l);
        AttentionInputs {
            rows: state.rows,
            q: scratch.q,
            k_cache,
            v_cache,
            head_dim: config.head_dim,
            scale,
            window,
        }
    }

    fn norm(&mut self, x: TensorId, weights: &NormWeights, y: TensorId) {
        let (eps, centred) = self.steps.norm_kind();
        let &NormWeights { weight, bias, .. } = weights;
        self.steps.push(ops::Norm { x, weight, bias, y, eps, centred, shrink: None });
    }

    /// dx += dy · d norm(x) / dx
    fn norm_grad(&mut self, x: TensorId, weights: &NormWeights, dy: TensorId) {
        let (weight, dx) = (weights.weight, self.steps.model.training.scratch.dx);
        match self.steps.model.config.norm {
            Norm::Rms(eps) => self.steps.push(ops::RmsNormGrad { x, weight, dy, dx, eps }),
            Norm::Layer(eps) => self.steps.push(ops::LayerNormGrad { x, weight, dy, dx, eps }),
        }
    }

    /// z = A·dropout(x) of a map's adapters, if it has any.
    fn adapted(&mut self, map: Map, linear: &Linear, x: TensorId) -> Option<Adapted> {
        let Model { bank, state, training, .. } = self.steps.model;
        let (shrink, delta) = bank.halves(linear.site, state.rows, 1)?;
        let z = training.scratch.z[map as usize];
        let (shrink, delta) = (DownProjection { z, ..shrink }, Delta { z, ..delta });
        let input = if trainee(training).dropout {
            let dropped = training.scratch.dropped[map as usize];
            self.dropout(linear.site, x, dropped, false);
            dropped
        } else {
            x
        };
        self.steps.push(ops::Shrink { x: input, shrink });
        Some(Adapted { shrink, delta, input })
    }

    fn dropout(&mut self, site: usize, x: TensorId, y: TensorId, accumulate: bool) {
        let Model { state, training, .. } = self.steps.model;
        let (training, rows, site) = (training.numbers, state.rows, site as u32);
        self.steps.push(ops::Dropout { training, rows, x, y, site, accumulate });
    }

    /// y = delta(x · Wᵀ) (+ bias) (+ y)
    fn linear(
        &mut self,
        x: TensorId,
        linear: &Linear,
        y: TensorId,
        accumulate: bool,
        adapted: Option<Adapted>,
    ) {
        let delta = adapted.map(|adapted| adapted.delta);
        for &weight in &linear.weight.slices {
            self.steps.push(ops::Linear { x, weight, bias: linear.bias, y, accumulate, delta });
        }
    }

    /// dx = dy · W (+ dx)
    fn linear_grad(&mut self, dy: TensorId, linear: &Linear, dx: TensorId, accumulate: bool) {
        for (i, &weight) in linear.weight.slices.iter().enumerate() {
            let accumulate = accumulate || i > 0;
            self.steps.push(ops::LinearGrad { dy, weight, dx, dx_first: 0, accumulate });
        }
    }

    /// dz = γ ∘ B·dy, and dx += dz·A
    fn adapters_grad(&mut self, site: usize, delta: Delta, dy: TensorId, dx: TensorId) {
        let Model { bank, training, .. } = self.steps.model;
        let Delta { rows, mixes, b, ranks, parts, .. } = delta;
        let dz = training.scratch.dz;
        self.steps.push(ops::ShrinkGrad { rows, mixes, dy, b, dz, ranks, parts });
        let a = bank.sites[site].a;
        self.steps.push(ops::ExpandGrad { rows, mixes, dz, a, dx, ranks, accumulate: true });
    }

    /// dx = dy by a map's input, and the gradients of the trainee's A and B at it.
    fn map_grad(&mut self, map: Map, linear: &Linear, adapted: Option<Adapted>, dy: TensorId, dx: TensorId) {
        self.linear_grad(dy, linear, dx, false);
        let Some(Adapted { shrink, delta, input }) = adapted else { return };
        let Model { training, .. } = self.steps.model;
        let t = &training.scratch;
        if trainee(training).dropout {
            // Through the dropped input: its gradient by itself first.
            let spread = t.spread[[0, 1, 0, 2][map as usize]];
            let Delta { rows, mixes, b, ranks, parts, .. } = delta;
            let (dz, a) = (t.dz, shrink.a);
            self.steps.push(ops::ShrinkGrad { rows, mixes, dy, b, dz, ranks, parts });
            self.steps.push(ops::ExpandGrad { rows, mixes, dz, a, dx: spread, ranks, accumulate: false });
            self.dropout(linear.site, spread, dx, true);
        } else {
            self.adapters_grad(linear.site, delta, dy, dx);
        }
        self.outer(linear.site, delta, input, dy);
    }

    /// The gradients of A, dz ⊗ input, and of B, z ⊗ dy, where the trainee acts; or that of its
    /// cores, dz ⊗ A₀·input.
    fn outer(&mut self, site: usize, delta: Delta, input: TensorId, dy: TensorId) {
        let Model { bank, training, tensors, .. } = self.steps.model;
        let trainee = trainee(training);
        let Some(i) = trainee.sites.iter().position(|(trained, _)| *trained == site) else { return };
        let [ga, gb] = training.moments[i].g;
        let (rows, count, c) = (delta.rows, trainee.count, bank.sites[site].inputs);
        let columns = part_columns(delta.parts, tensors.get(dy).row_len());
        for (part, cols) in columns.into_iter().enumerate().filter(|(part, _)| trainee.sites[i].1[*part]) {
            let u_first = part * delta.ranks + trainee.first;
            let outer =
                |u, v, g, g_first, cols| ops::OuterGrad { rows, u, u_first, v, g, g_first, count, cols };
            if trainee.cores {
                let y = training.scratch.frozen_z;
                let weight = Slice { tensor: training.moments[i].cores[part].a, first: 0 };
                let (x, bias, delta) = (input, None, None);
                self.steps.push(ops::Linear { x, weight, bias, y, accumulate: false, delta });
                self.steps.push(outer(training.scratch.dz, y, ga, part * count, [0, count]));
                continue;
            }
            self.steps.push(outer(training.scratch.dz, input, ga, part * count, [0, c]));
            self.steps.push(outer(delta.z, dy, gb, 0, cols));
        }
    }
}
