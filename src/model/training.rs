//! The tensors that training an adapter needs beside those of inference. They take no memory
//! until there is a trainee.

use crate::error::Result;
use crate::plan::{Dtype, TensorId, Tensors, Training as Numbers};

use super::bank::Bank;
use super::blueprint::Blueprint;
use super::layouts::PartRanks;
use super::methods::Variant;
use super::sites::Site;
use super::{MAX_ROWS, Sizes};

/// The adapter that is trained: which of the bank's numbers have gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trainee {
    /// Where it acts, in the order of sites.
    pub(crate) sites: Vec<TrainedSite>,
    /// Whether the inputs of its A lose elements at random.
    pub(crate) dropout: bool,
    /// What of it is trained.
    pub(crate) variant: Variant,
    /// `W`: most tokens of a window it learns from.
    pub(crate) window: usize,
}

/// A site that an adapter is trained at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrainedSite {
    /// Index among the bank's.
    pub(crate) site: usize,
    /// Its first rank in the site's layout.
    pub(crate) first: usize,
    /// Its ranks at each part, with those that fill up a step of the bank; 0 where it does not act.
    pub(crate) parts: PartRanks,
}

impl Trainee {
    /// Rows of the plan that takes a step of the optimiser.
    pub(crate) fn update_rows(&self) -> usize {
        self.variant.method().update_rows(self.most_ranks())
    }

    /// The most ranks of a part.
    fn most_ranks(&self) -> usize {
        self.sites.iter().flat_map(|site| site.parts).max().unwrap_or(0)
    }

    /// The trained site of this index, and its place among them.
    pub(crate) fn at(&self, site: usize) -> Option<(usize, &TrainedSite)> {
        self.sites.iter().enumerate().find(|(_, trained)| trained.site == site)
    }
}

impl TrainedSite {
    /// Parts it acts on.
    pub(super) fn trained_parts(&self) -> impl Iterator<Item = usize> {
        let parts = self.parts;
        (0..parts.len()).filter(move |&part| parts[part] > 0)
    }
}

/// Gradients and moments of one site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    /// Gradients, whose shapes are the method's.
    pub(crate) g: [TensorId; 2],
    /// First moments, likewise.
    pub(crate) m: [TensorId; 2],
    /// Second moments, likewise.
    pub(crate) v: [TensorId; 2],
    /// What is trained of each part in the place of A and B, if it is.
    pub(crate) cores: [Core; 3],
}

/// The core of one part of a site (LoRA-XS, arXiv:2405.17604): the bank's A is R · A₀, of which R alone
/// is trained.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    /// R (count, count)
    pub r: TensorId,
    /// A₀ (count, C)
    pub a: TensorId,
}

/// What an adapter's training reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    /// Whose it is, while there is one.
    pub(crate) trainee: Option<Trainee>,
    /// (12) u32, see [`Training`](crate::plan::Training)
    pub(crate) numbers: TensorId,
    /// (MAX_ROWS) u32: the token that each row is to predict, or `INACTIVE`
    pub(crate) targets: TensorId,
    /// (W, 1): nats, by position
    pub(crate) losses: TensorId,
    /// Each layer's input by position, and the last one's output: (W, C)
    pub(super) checkpoints: Vec<TensorId>,
    /// (W, C): the gradient by the current layer's output, by position
    pub(crate) gradients: TensorId,
    /// (slots, S, K·D): the gradients by the current layer's keys and values
    pub(crate) cache: [TensorId; 2],
    /// (gradients)
    pub(crate) sums: TensorId,
    /// One for each of the trainee's sites.
    pub(crate) moments: Vec<Moments>,
    pub(super) scratch: Scratch,
    /// Sites for which `moments` are declared, that they can be used again.
    spare: Vec<Moments>,
}

/// Activations of one run, and gradients by them, named with a d in front.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// (MAX_ROWS, 1)
    pub(crate) loss: TensorId,
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
            loss: many("loss")?,
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
            targets: tensors.declare("train.targets", Dtype::U32, &[MAX_ROWS])?,
            losses,
            checkpoints,
            gradients,
            cache,
            sums,
            moments: Vec::new(),
            scratch,
            spare: Vec::new(),
        })
    }

    /// Makes room for a trainee, or frees what the last one needed. Moments start as zeros.
    ///
    /// Errors with `Memory`.
    pub(crate) fn reshape(
        &mut self,
        tensors: &mut Tensors,
        config: &Blueprint,
        sizes: Sizes,
        bank: &Bank,
        trainee: Option<Trainee>,
    ) -> Result<()> {
        let on = trainee.is_some();
        let sized = |rows: usize, cols: usize| if on { [rows, cols] } else { [1, 1] };
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let up = if config.gated { 2 * f } else { f };
        let s = &self.scratch;
        let rows = [
            (s.loss, 1),
            (s.middle, c),
            (s.normed, c),
            (s.dx, c),
            (s.dxn, c),
            (s.dqkv, q + 2 * kv),
            (s.dq, q),
            (s.dattended, q),
            (s.stats, 2 * config.num_attention_heads),
            (s.dup, up),
            (s.dhidden, f),
        ];
        for (tensor, cols) in rows {
            tensors.reshape(tensor, &sized(MAX_ROWS, cols))?;
        }
        let has_branches = on && config.has_branches();
        for tensor in [s.dbranch, s.mlp_branch] {
            tensors.reshape(tensor, &if has_branches { [MAX_ROWS, c] } else { [1, 1] })?;
        }
        let dropout = trainee.as_ref().is_some_and(|trainee| trainee.dropout);
        for (tensor, cols) in s.dropped.into_iter().chain(s.spread).zip([c, q, c, f, c, q, f]) {
            tensors.reshape(tensor, &if dropout { [MAX_ROWS, cols] } else { [1, 1] })?;
        }
        let [window, c] = sized(trainee.as_ref().map_or(1, |trainee| trainee.window), c);
        let whole = [(self.losses, 1), (self.gradients, c)];
        for (tensor, cols) in whole.into_iter().chain(self.checkpoints.iter().map(|&tensor| (tensor, c))) {
            tensors.reshape(tensor, &[window, cols])?;
        }
        // Like the keys and values that they are the gradients by.
        let cache = if on { [sizes.slots, sizes.context, kv] } else { [1, 1, 1] };
        for tensor in self.cache {
            tensors.reshape(tensor, &cache)?;
        }
        let frozen_z = |trainee: &Trainee| trainee.variant.method().frozen_z(trainee.most_ranks());
        tensors.reshape(s.frozen_z, &trainee.as_ref().map_or([1, 1], frozen_z))?;
        self.reshape_moments(tensors, bank, trainee.as_ref())?;
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
        Some(self.moments[i].cores[part])
    }

    /// Fits what depends on how many ranks the bank has room for.
    ///
    /// Errors with `Memory`.
    pub(crate) fn reshape_ranks(&self, tensors: &mut Tensors, bank: &Bank) -> Result<()> {
        let columns = bank.most_ranks(Site::blocks);
        let shape = if self.trainee.is_some() && columns > 0 { [MAX_ROWS, columns] } else { [1, 1] };
        let mut each = self.scratch.z.into_iter().chain([self.scratch.dz]);
        each.try_for_each(|tensor| tensors.reshape(tensor, &shape))
    }

    fn reshape_moments(
        &mut self,
        tensors: &mut Tensors,
        bank: &Bank,
        trainee: Option<&Trainee>,
    ) -> Result<()> {
        self.spare.append(&mut self.moments);
        let method = trainee.map(|trainee| trainee.variant).unwrap_or_default().method();
        for (i, trained) in trainee.iter().flat_map(|trainee| &trainee.sites).enumerate() {
            let moments = match self.spare.pop() {
                Some(moments) => moments,
                None => Moments::declare(tensors, i)?,
            };
            let TrainedSite { site, ref parts, .. } = *trained;
            let site = &bank.sites[site];
            let count = parts.iter().copied().max().unwrap_or(0);
            let shapes = method.gradients(site, parts);
            for pair in [moments.g, moments.m, moments.v] {
                for (tensor, shape) in pair.into_iter().zip(&shapes) {
                    tensors.reshape(tensor, shape)?;
                }
            }
            for (part, Core { r, a }) in moments.cores.into_iter().enumerate() {
                let [of_r, of_a] =
                    if parts[part] > 0 { method.core(site.inputs, count) } else { [[1, 1]; 2] };
                tensors.reshape(r, &of_r)?;
                tensors.reshape(a, &of_a)?;
            }
            self.moments.push(moments);
        }
        for moments in &self.spare {
            for tensor in moments.tensors() {
                tensors.reshape(tensor, &[1, 1])?;
            }
        }
        tensors.reshape(self.sums, &[(2 * self.moments.len()).max(1), 1])
    }
}

impl Moments {
    /// Those of the `i`-th trained site, without room yet.
    fn declare(tensors: &mut Tensors, i: usize) -> Result<Self> {
        let mut pair = |what: &str, of: [&str; 2]| -> Result<[TensorId; 2]> {
            let mut one = |of: &str| tensors.declare(format!("train.{what}.{of}.{i}"), Dtype::F32, &[1, 1]);
            Ok([one(of[0])?, one(of[1])?])
        };
        let [g, m, v] = [pair("g", ["a", "b"])?, pair("m", ["a", "b"])?, pair("v", ["a", "b"])?];
        let mut core = |part: &str| pair(part, ["core", "frozen"]).map(|[r, a]| Core { r, a });
        Ok(Self { g, m, v, cores: [core("0")?, core("1")?, core("2")?] })
    }

    fn tensors(&self) -> impl Iterator<Item = TensorId> {
        let Self { g, m, v, cores } = *self;
        [g, m, v].into_iter().flatten().chain(cores.into_iter().flat_map(|Core { r, a }| [r, a]))
    }
}
