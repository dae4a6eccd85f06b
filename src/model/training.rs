//! The tensors that training an adapter needs beside those of inference. They take no memory
//! until there is a trainee.

use crate::error::Result;
use crate::plan::{Dtype, Target, TensorId, Tensors, Training as Numbers};

use super::bank::Bank;
use super::blueprint::Blueprint;
use super::moments::AllMoments;
use super::sites::Site;
use super::trained::Core;
use super::trainee::{Keep, Trainee};
use super::{MAX_ROWS, Model, Widths};

/// What an adapter's training reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    /// Whose it is, while there is one.
    pub(crate) trainee: Option<Trainee>,
    /// (12) u32, see [`Training`](crate::plan::Training)
    pub(crate) numbers: TensorId,
    /// (W, 2), see [`Target`](crate::plan::Target): what is to follow the token at each position
    pub(crate) targets: TensorId,
    /// (W, 1): nats, by position
    pub(crate) losses: TensorId,
    /// Each layer's input, and the last one's output, by position: (W, C). Where activations stay in place, inputs
    /// are row by row.
    pub(super) checkpoints: Vec<TensorId>,
    /// Of each layer what is kept beside its input; none before the first trainee that keeps it.
    pub(super) kept: Vec<KeptLayer>,
    /// (W, C): the gradient by the current layer's output, by position
    pub(crate) gradients: TensorId,
    /// (slots, S, K·D): the gradients by the current layer's keys and values
    pub(crate) cache: [TensorId; 2],
    /// Of all gradients, see [`SquareSum`](crate::ops::SquareSum)
    pub(crate) sums: TensorId,
    pub(crate) moments: AllMoments,
    pub(super) scratch: Scratch,
}

/// Activations of one layer that stay until the way back, of `n` rows: W by position, or those of the tile. What
/// adapters make of them is not among them: the bank may have changed by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptLayer {
    /// (n, H·D)
    pub(crate) q: TensorId,
    /// (n, H·D)
    pub(crate) attended: TensorId,
    /// (n, C): the residual stream between attention and MLP
    pub(crate) middle: TensorId,
    /// (n, F), or (n, 2F) when gated
    pub(crate) up: TensorId,
    /// (n, (H + 2K)·D), where heads are normed
    pub(crate) qkv: TensorId,
}

/// Activations of one run, and gradients by them, named with a d in front. MAX_ROWS are the tile's, if that has more.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// (MAX_ROWS, C): the residual stream between attention and MLP
    pub(crate) middle: TensorId,
    /// (MAX_ROWS, C): the second norm's output; the first one's is read until the end
    pub(crate) normed: TensorId,
    /// (MAX_ROWS, C)
    pub(crate) dx: TensorId,
    /// (MAX_ROWS, C)
    pub(crate) dxn: TensorId,
    /// (MAX_ROWS, C): as `branch`, where there is such
    pub(crate) dbranch: TensorId,
    /// (MAX_ROWS, C): what feed-forward adds; `branch` has what attention does until the end
    pub(crate) mlp_branch: TensorId,
    /// (MAX_ROWS, (H + 2K)·D)
    pub(crate) dqkv: TensorId,
    /// (MAX_ROWS, H·D)
    pub(crate) dq: TensorId,
    /// (MAX_ROWS, H·D)
    pub(crate) dattended: TensorId,
    /// (MAX_ROWS, 2·H)
    pub(crate) stats: TensorId,
    /// As `up`.
    pub(crate) dup: TensorId,
    /// (MAX_ROWS, F)
    pub(crate) dhidden: TensorId,
    /// What dropout left of the inputs of qkv, o, up and down.
    pub(crate) dropped: [TensorId; 4],
    /// The gradient by what dropout left: C, H·D, F wide.
    pub(crate) spread: [TensorId; 3],
    /// Ranks of qkv, o, up and down: (MAX_ROWS, most parts·R)
    pub(crate) z: [TensorId; 4],
    /// (MAX_ROWS, most parts·R)
    pub(crate) dz: TensorId,
    /// A₀·x of one core: (MAX_ROWS, count)
    pub(crate) frozen_z: TensorId,
}

impl Training {
    pub(super) fn declare(config: &Blueprint, tensors: &mut Tensors) -> Result<Self> {
        let mut many = |name: &str| tensors.declare(format!("train.{name}"), Dtype::F32, &[1, 1]);
        let scratch = Scratch {
            middle: many("middle")?,
            normed: many("normed")?,
            dx: many("dx")?,
            dxn: many("dxn")?,
            dbranch: many("dbranch")?,
            mlp_branch: many("mlp_branch")?,
            dqkv: many("dqkv")?,
            dq: many("dq")?,
            dattended: many("dattended")?,
            stats: many("stats")?,
            dup: many("dup")?,
            dhidden: many("dhidden")?,
            dropped: [many("dropped.qkv")?, many("dropped.o")?, many("dropped.up")?, many("dropped.down")?],
            spread: [many("spread.c")?, many("spread.q")?, many("spread.f")?],
            z: [many("z.qkv")?, many("z.o")?, many("z.up")?, many("z.down")?],
            dz: many("dz")?,
            frozen_z: many("frozen_z")?,
        };
        let checkpoints =
            (0..=config.layers.len()).map(|l| many(&format!("checkpoint.{l}"))).collect::<Result<_>>()?;
        let (losses, gradients) = (many("losses")?, many("gradients")?);
        let cache = [many("dk")?, many("dv")?];
        let sums = many("sums")?;
        Ok(Self {
            trainee: None,
            numbers: tensors.declare("train.numbers", Dtype::U32, &[size_of::<Numbers>() / 4])?,
            targets: tensors.declare("train.targets", Dtype::U32, &[1, size_of::<Target>() / 4])?,
            losses,
            checkpoints,
            kept: Vec::new(),
            gradients,
            cache,
            sums,
            moments: AllMoments::default(),
            scratch,
        })
    }

    /// Makes room for a trainee, or frees what the last one needed. Moments start as zeros.
    ///
    /// Errors with `Memory`.
    pub(crate) fn reshape(
        &mut self,
        tensors: &mut Tensors,
        Model { config, sizes, scratch, state, .. }: &Model,
        bank: &Bank,
        trainee: Option<Trainee>,
    ) -> Result<()> {
        let on = trainee.is_some();
        let sized = |rows: usize, cols: usize| if on { [rows, cols] } else { [1, 1] };
        let Widths { c, f, q, kv, qkv, up } = Widths::of(config);
        let tile = trainee.as_ref().map_or(1, |trainee| trainee.tile);
        let lines = tile.max(MAX_ROWS);
        scratch.reshape(tensors, lines)?;
        tensors.reshape(state.rows, &[lines, tensors.get(state.rows).row_len()])?;
        let s = &self.scratch;
        let rows = [
            (s.middle, c),
            (s.normed, c),
            (s.dx, c),
            (s.dxn, c),
            (s.dqkv, qkv),
            (s.dq, q),
            (s.dattended, q),
            (s.stats, 2 * config.num_attention_heads),
            (s.dup, up),
            (s.dhidden, f),
        ];
        for (tensor, cols) in rows {
            tensors.reshape(tensor, &sized(lines, cols))?;
        }
        let has_branches = on && config.has_branches();
        for tensor in [s.dbranch, s.mlp_branch] {
            tensors.reshape(tensor, &if has_branches { [lines, c] } else { [1, 1] })?;
        }
        let dropout = trainee.as_ref().is_some_and(|trainee| trainee.dropout);
        for (tensor, cols) in s.dropped.into_iter().chain(s.spread).zip([c, q, c, f, c, q, f]) {
            tensors.reshape(tensor, &if dropout { [lines, cols] } else { [1, 1] })?;
        }
        let window = trainee.as_ref().map_or(1, |trainee| trainee.window.max(tile));
        tensors.reshape(self.targets, &[window, size_of::<Target>() / 4])?;
        tensors.reshape(self.losses, &[window, 1])?;
        for &tensor in self.checkpoints.iter().chain([&self.gradients]) {
            tensors.reshape(tensor, &sized(window, c))?;
        }
        let kept_rows = match trainee.as_ref().map(|trainee| trainee.keep) {
            None | Some(Keep::Inputs) => 0,
            Some(Keep::Copies) => window,
            Some(Keep::InPlace) => tile,
        };
        while kept_rows > 0 && self.kept.len() < config.layers.len() {
            self.kept.push(KeptLayer::declare(tensors, self.kept.len())?);
        }
        for kept in &self.kept {
            for (tensor, cols) in kept.tensors().into_iter().zip(KeptLayer::widths(config, scratch)) {
                let has_room = kept_rows > 0 && cols > 0;
                tensors.reshape(tensor, &if has_room { [kept_rows, cols] } else { [1, 1] })?;
            }
        }
        // Like the keys and values that they are the gradients by.
        let cache = if on { [sizes.slots, sizes.context, kv] } else { [1, 1, 1] };
        for tensor in self.cache {
            tensors.reshape(tensor, &cache)?;
        }
        let frozen_z = |trainee: &Trainee| trainee.variant.method().frozen_z(lines, trainee.most_ranks());
        tensors.reshape(s.frozen_z, &trainee.as_ref().map_or([1, 1], frozen_z))?;
        self.moments.reshape(tensors, bank, trainee.as_ref(), self.sums)?;
        self.trainee = trainee;
        self.reshape_ranks(tensors, bank)
    }

    /// The trainee that plans of training are made for.
    pub(super) fn of_trainee(&self) -> &Trainee {
        self.trainee.as_ref().expect("plans of training are made for a trainee")
    }

    /// The core at a part of one of the trainee's sites; it has room if the method trains it.
    pub(crate) fn core(&self, site: usize, part: usize) -> Option<Core> {
        let (i, _) = self.trainee.as_ref()?.at(site)?;
        Some(self.moments.sites[i].cores[part])
    }

    /// Fits what depends on how many ranks the bank has room for.
    ///
    /// Errors with `Memory`.
    pub(crate) fn reshape_ranks(&self, tensors: &mut Tensors, bank: &Bank) -> Result<()> {
        let columns = bank.most_ranks(Site::blocks);
        let trainee = self.trainee.as_ref().filter(|_| columns > 0);
        let shape = trainee.map_or([1, 1], |trainee| [trainee.tile.max(MAX_ROWS), columns]);
        let mut each = self.scratch.z.into_iter().chain([self.scratch.dz]);
        each.try_for_each(|tensor| tensors.reshape(tensor, &shape))
    }
}

impl KeptLayer {
    /// Those of layer `l`, without room yet.
    fn declare(tensors: &mut Tensors, l: usize) -> Result<Self> {
        let mut one = |name: &str| tensors.declare(format!("train.kept.{l}.{name}"), Dtype::F32, &[1, 1]);
        Ok(Self {
            q: one("q")?,
            attended: one("attended")?,
            middle: one("middle")?,
            up: one("up")?,
            qkv: one("qkv")?,
        })
    }

    fn tensors(&self) -> [TensorId; 5] {
        let &Self { q, attended, middle, up, qkv } = self;
        [q, attended, middle, up, qkv]
    }

    /// Of its tensors.
    fn widths(config: &Blueprint, scratch: &super::Scratch) -> [usize; 5] {
        let Widths { c, q, qkv, up, .. } = Widths::of(config);
        [q, q, c, up, if scratch.heads.is_some() { qkv } else { 0 }]
    }
}

impl Model {
    /// Bytes of what is kept of every layer, beside its input, of so many rows.
    pub(crate) fn kept_bytes(&self, rows: usize) -> usize {
        let width: usize = KeptLayer::widths(&self.config, &self.scratch).iter().sum();
        size_of::<f32>() * rows * width * self.config.layers.len()
    }
}
