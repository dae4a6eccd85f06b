//! A decoder-only transformer as plans: its tensors, and the three lists of steps that run it.
//! No kernel, no device, no file.

mod backward;
mod bank;
mod block;
mod blueprint;
mod encoder;
mod families;
mod fields;
mod forward;
mod identity;
mod kept;
mod layouts;
mod matrix;
mod methods;
mod moments;
mod names;
mod needs;
mod places;
mod pooling;
mod quantised;
mod roles;
mod rope;
mod scratch;
mod sites;
mod steps;
mod table_sum;
mod tables;
mod trained;
mod trainee;
mod training;
mod weights;

pub(crate) use bank::{Bank, MIXES};
pub use blueprint::{Blueprint, Norm};
pub(crate) use layouts::{Demand, Held, free, padded};
pub(crate) use methods::Begun;
pub use methods::Variant;
pub(crate) use names::{GgufLinear, GgufTensor};
pub(crate) use names::{checkpoint_tensor, gguf_linear, gguf_name, is_wrapped};
use needs::cache_of;
pub use needs::{Needs, size};
pub use pooling::Pooling;
pub(crate) use quantised::check_tensor;
pub(crate) use roles::RowOrder;
pub use rope::{Rope, RopeScaling};
use scratch::{Scratch, Widths};
pub(crate) use sites::{Site, Span};
pub(crate) use tables::{Room, Table};
pub(crate) use trained::TrainedSite;
pub(crate) use trainee::{Keep, Trainee};
pub(crate) use training::Training;
pub(crate) use weights::Weights;

use crate::error::{Error, Result};
use crate::plan::{Dtype, Plan, RING, Row, Sampling, Target, TensorId, Tensors};

/// Most token rows in one run.
pub const MAX_ROWS: usize = 128;

/// Most in one run of training, where there is memory for it.
pub(crate) const TRAIN_ROWS: usize = 256;

/// Logits of one run stay below this, so that a large vocabulary is scored in smaller runs.
const MAX_LOGITS_BYTES: u64 = 32 << 20;

/// How much to make room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// `S`: tokens a sequence may have.
    pub(crate) context: usize,
    /// Sequences whose keys and values are kept at once.
    pub(crate) slots: usize,
    /// The most bytes of one tensor; larger weights are cut into runs of rows.
    pub(crate) max_tensor_bytes: u64,
    /// Type of keys and values, where they fit it: see [`held_type`](crate::cache::held_type).
    pub(crate) kv_dtype: Dtype,
    /// Type of the linear maps, the embedding and the head; f32 where their columns do not fit it.
    pub(crate) dtype: Dtype,
}

/// A model's tensors and the plans over them.
#[derive(Debug)]
pub struct Model {
    /// The architecture.
    pub config: Blueprint,
    /// Every tensor, weights included.
    pub tensors: Tensors,
    /// Where the checkpoint's tensors go.
    pub weights: Weights,
    /// Where adapters go.
    pub bank: Bank,
    /// What persists between runs.
    pub state: State,
    /// What training an adapter needs.
    pub(crate) training: Training,
    scratch: Scratch,
    sizes: Sizes,
}

/// Tensors that persist between runs and that the engine reads and writes.
#[derive(Debug)]
pub struct State {
    /// (MAX_ROWS, 4) u32, see [`Row`]
    pub rows: TensorId,
    /// (slots, 12), see [`Sampling`]
    pub(crate) sampling: TensorId,
    /// (slots, ⌈V/32⌉) bits: tokens the repetition penalty applies to
    pub(crate) seen: TensorId,
    /// (slots, RING) u32: tokens drawn
    pub(crate) ring: TensorId,
    /// (logit rows, V)
    pub(crate) logits: TensorId,
    /// (S, 2), see [`Target`](crate::plan::Target): what is to follow the token at each position
    pub(crate) targets: TensorId,
    /// (S, 1): nats, by position
    pub(crate) losses: TensorId,
    /// One for each of [`Blueprint::ropes`], (S, E): cos and sin of each position
    ropes: Vec<TensorId>,
    /// Per layer: keys, values (slots, S, K·D)
    pub(crate) cache: Vec<(TensorId, TensorId)>,
    /// Of an encoder.
    whole: Option<encoder::Whole>,
}

impl Model {
    /// Declares every tensor of the architecture.
    ///
    /// Errors with `Argument` if the context is longer than a learned position table or zero,
    /// `Unsupported` if a tensor cannot be cut small enough.
    pub(crate) fn new(config: Blueprint, sizes: Sizes) -> Result<Self> {
        Self::with_types(config, sizes, &|_| sizes.dtype)
    }

    /// The same with types of their own: `dtype_of` takes a weight's checkpoint name without prefix.
    /// Maps that are one matrix here are tensors of their own where their types differ.
    ///
    /// Errors as [`Model::new`].
    pub(crate) fn with_types(
        config: Blueprint,
        sizes: Sizes,
        dtype_of: &dyn Fn(&str) -> Dtype,
    ) -> Result<Self> {
        let most = config.max_position_embeddings;
        if sizes.context < 2 {
            return Err(Error::argument(format!("context length {}, expected at least 2", sizes.context)));
        }
        if sizes.slots == 0 || sizes.slots > MAX_ROWS {
            return Err(Error::argument(format!("batch {}, expected 1 to {MAX_ROWS}", sizes.slots)));
        }
        if config.learned_positions && sizes.context > most {
            return Err(Error::argument(format!(
                "context length {}, the model has {most} positions",
                sizes.context
            )));
        }
        let mut tensors = Tensors::default();
        let mut bank = Bank::declare(&mut tensors, &config, sizes.max_tensor_bytes)?;
        let weights = Weights::declare(&config, &mut tensors, &mut bank, dtype_of, sizes.max_tensor_bytes)?;
        bank.share(&mut tensors);
        let state = State::declare(&config, &mut tensors, sizes)?;
        let scratch = Scratch::declare(&config, &mut tensors)?;
        let training = Training::declare(&config, &mut tensors)?;
        Ok(Self { config, tensors, weights, bank, state, training, scratch, sizes })
    }

    /// `S`
    pub fn context(&self) -> usize {
        self.sizes.context
    }

    /// Sequences whose keys and values are kept at once.
    pub fn slots(&self) -> usize {
        self.sizes.slots
    }

    /// Most rows of one [`score`](Self::score) plan.
    pub(crate) fn score_rows(&self) -> usize {
        self.tensors.get(self.state.logits).shape[0]
    }

    /// Errors with `Argument` for a token that the vocabulary does not have.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let v = self.config.vocab_size;
        match ids.iter().find(|&&id| id as usize >= v) {
            Some(id) => {
                Err(Error::argument(format!("token id {id}, expected below the vocabulary size {v}")))
            }
            None => Ok(()),
        }
    }

    /// What must be uploaded before the first run, beside the checkpoint.
    pub(crate) fn constants(&self) -> Vec<(TensorId, Vec<f32>)> {
        let Self { config, state, sizes, .. } = self;
        let tables = config.ropes.iter().map(|rope| rope.table(sizes.context, config.rotary_dim));
        state.ropes.iter().copied().zip(tables).collect()
    }

    /// Fills the cache for `n` rows and computes no logits.
    pub fn prefill(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        forward::layers(self, &mut plan, self.config.layers.len());
        plan
    }

    /// Fills the cache for `n` rows and leaves their logits in `state.logits`.
    pub fn score(&self, n: usize) -> Plan {
        let mut plan = self.prefill(n);
        forward::head(self, &mut plan);
        plan
    }

    /// Fills the cache for `n` rows and leaves in `state.losses` how well each foresees its target.
    pub(crate) fn losses(&self, n: usize) -> Plan {
        let mut plan = self.score(n);
        forward::losses(self, &mut plan, [self.state.targets, self.state.losses], false);
        plan
    }

    /// One step of generation for `n` sequences, one row each: [`score`](Self::score), then
    /// draw, so that the next replay continues with the tokens drawn.
    pub fn decode(&self, n: usize) -> Plan {
        let mut plan = self.score(n);
        forward::sample(self, &mut plan);
        plan
    }

    /// The end of [`decode`](Self::decode) alone, for `n` rows whose logits are there.
    pub(crate) fn draw(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        forward::sample(self, &mut plan);
        plan
    }

    /// What training and all tensors would be with room to train an adapter of the bank, or without.
    /// Plans must be made anew once they are put in the place of the model's own.
    ///
    /// Errors with `Memory`.
    pub(crate) fn with_trainee(&self, trainee: Option<Trainee>) -> Result<(Training, Tensors)> {
        let (mut training, mut tensors) = (self.training.clone(), self.tensors.clone());
        training.reshape(&mut tensors, self, &self.bank, trainee)?;
        Ok((training, tensors))
    }

    /// All tensors as they would be with `room` in `bank`, a changed copy of the model's own. Plans must
    /// be made anew once both are put in its place.
    ///
    /// Errors with `Memory`.
    pub(crate) fn with_bank(&self, bank: &mut Bank, room: Room) -> Result<Tensors> {
        let mut tensors = self.tensors.clone();
        bank.reshape(&mut tensors, room)?;
        self.training.reshape_ranks(&mut tensors, bank)?;
        Ok(tensors)
    }

    /// The tensors there would be with this bank and this trainee.
    ///
    /// Errors with `Memory` if one of them is past what can be addressed.
    pub(crate) fn training_tensors(&self, trainee: Trainee, mut bank: Bank) -> Result<Tensors> {
        let (mut training, mut tensors, room) = (self.training.clone(), self.tensors.clone(), bank.room);
        bank.reshape(&mut tensors, room)?;
        training.reshape(&mut tensors, self, &bank, Some(trainee))?;
        Ok(tensors)
    }

    /// The first step of training on `n` rows: embeds them.
    pub(crate) fn train_embed(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        kept::embed(self, &mut plan);
        plan
    }

    /// Layer `l` forward on `n` rows, once all before it have run.
    pub(crate) fn train_layer(&self, n: usize, l: usize) -> Plan {
        let mut plan = Plan::new(n);
        kept::layer(self, &mut plan, l);
        plan
    }

    /// Runs `n` rows through the first `layers` layers and, where those are all, the last norm;
    /// [`hidden_state`](Self::hidden_state) has what comes out.
    pub(crate) fn hidden(&self, n: usize, layers: usize) -> Plan {
        let mut plan = Plan::new(n);
        forward::hidden(self, &mut plan, layers);
        plan
    }

    /// (MAX_ROWS, C): where a [`hidden`](Self::hidden) plan leaves its rows.
    pub(crate) fn hidden_state(&self, layers: usize) -> TensorId {
        if layers == self.config.layers.len() { self.scratch.xn } else { self.scratch.x }
    }

    /// Losses of `n` rows, and the gradient by the last layer's output.
    pub(crate) fn train_head(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        backward::head(self, &mut plan);
        plan
    }

    /// Layer `l` backward on `n` rows, once all after it, and all later rows, have run.
    pub(crate) fn train_backward(&self, n: usize, l: usize) -> Plan {
        let mut plan = Plan::new(n);
        backward::backward(self, &mut plan, l);
        plan
    }

    /// Sums of the squares of all gradients, which [`train_update`](Self::train_update) clips by.
    pub(crate) fn train_norms(&self) -> Plan {
        let mut plan = Plan::new(1);
        backward::norms(self, &mut plan);
        plan
    }

    /// One step of the optimiser, for [`Trainee::update_rows`] rows, once the sums are there.
    pub(crate) fn train_update(&self, n: usize) -> Plan {
        let mut plan = Plan::new(n);
        backward::update(self, &mut plan);
        plan
    }
}

impl State {
    /// The angles that layer `l` rotates by.
    fn rope(&self, config: &Blueprint, l: usize) -> TensorId {
        self.ropes[config.layers[l].rope]
    }

    /// Rows of logits of one run.
    fn logit_rows(v: usize, slots: usize, max_tensor_bytes: u64) -> usize {
        (MAX_LOGITS_BYTES.min(max_tensor_bytes) / (4 * v as u64)).clamp(slots as u64, MAX_ROWS as u64)
            as usize
    }

    fn declare(config: &Blueprint, tensors: &mut Tensors, sizes: Sizes) -> Result<Self> {
        let Sizes { context, slots, max_tensor_bytes, .. } = sizes;
        let v = config.vocab_size;
        let (kv_dtype, kv) = cache_of(config, sizes.kv_dtype);
        let row = 4 * kv_dtype.row_words(kv) as u64;
        let cache_bytes = (slots as u64).saturating_mul(context as u64).saturating_mul(row);
        if cache_bytes > max_tensor_bytes {
            return Err(Error::memory(format!(
                "{slots} sequences of {context} tokens: a layer's keys take {cache_bytes} bytes, the device binds at most {max_tensor_bytes}"
            )));
        }
        // An encoder has no logits.
        let logit_rows =
            if config.encoder.is_some() { slots } else { Self::logit_rows(v, slots, max_tensor_bytes) };
        let mut cache = |l: usize, what: &str| {
            tensors.declare(format!("cache.{l}.{what}"), kv_dtype, &[slots, context, kv])
        };
        let cache = (0..config.layers.len())
            .map(|l| Ok((cache(l, "k")?, cache(l, "v")?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            rows: tensors.declare("rows", Dtype::U32, &[MAX_ROWS, size_of::<Row>() / 4])?,
            sampling: tensors.declare("sampling", Dtype::U32, &[slots, size_of::<Sampling>() / 4])?,
            seen: tensors.declare("seen", Dtype::U32, &[slots, v.div_ceil(32)])?,
            ring: tensors.declare("ring", Dtype::U32, &[slots, RING])?,
            logits: tensors.declare("logits", Dtype::F32, &[logit_rows, v])?,
            targets: tensors.declare("targets", Dtype::U32, &[context, size_of::<Target>() / 4])?,
            losses: tensors.declare("losses", Dtype::F32, &[context, 1])?,
            ropes: (0..config.ropes.len())
                .map(|i| {
                    let name = if i == 0 { "rope".to_owned() } else { format!("rope.{i}") };
                    tensors.declare(name, Dtype::F32, &[context, config.rotary_dim])
                })
                .collect::<Result<_>>()?,
            cache,
            whole: config.encoder.map(|_| encoder::Whole::declare(config, tensors, context)).transpose()?,
        })
    }
}
