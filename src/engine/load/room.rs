//! Whether a model fits, known before any of it is allocated, and what would fit where it does not.
//! What it takes is counted by `model`, what there is told by `backend`.

use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Blueprint, Model, Needs, Sizes, size};
use crate::plan::{Dtype, MAX_TENSOR_BYTES};

use crate::engine::load::options::EngineOptions;

/// Context chosen where the caller names none.
const DEFAULT_CONTEXT: usize = 2048;
/// Sequences chosen where the caller names no number, as far as their cache fits.
const DEFAULT_SLOTS: u64 = 8;
const DEFAULT_CACHE_BYTES: u64 = 128 << 20;

/// Contexts below this are advised only where no type of weights makes this fit.
const GOOD_CONTEXT: usize = 1024;
/// Contexts below this are of no use.
const LEAST_CONTEXT: usize = 128;

/// What a model of this architecture takes with these options, of which nothing is allocated.
///
/// Errors with `Argument` for an option, `Memory` if one tensor is past what can be addressed.
pub fn needs(config: &Blueprint, options: &EngineOptions) -> Result<Needs> {
    Ok(declared(config, options)?.needs())
}

/// The model of this architecture with these options, of which nothing is allocated: its tensors and plans can be
/// counted.
///
/// Errors as [`needs`].
pub fn declared(config: &Blueprint, options: &EngineOptions) -> Result<Model> {
    Model::new(config.clone(), sizes(config, options, MAX_TENSOR_BYTES))
}

/// The sizes that options mean.
pub(crate) fn sizes(config: &Blueprint, options: &EngineOptions, max_tensor_bytes: u64) -> Sizes {
    let usual = config.max_position_embeddings.min(DEFAULT_CONTEXT);
    let context = options.context_length.unwrap_or(usual);
    let kv_dtype = options.kv_dtype.unwrap_or(Dtype::F32);
    let slots = options.batch.unwrap_or_else(|| {
        // A shorter context is asked for to save memory, not for more sequences.
        let fit = DEFAULT_CACHE_BYTES / Model::slot_bytes(config, context.max(usual), kv_dtype).max(1);
        fit.clamp(1, DEFAULT_SLOTS) as usize
    });
    Sizes { context, slots, max_tensor_bytes, kv_dtype, dtype: options.dtype.unwrap_or(Dtype::F32) }
}

/// The model, with types as [`Model::with_types`] takes them, if the backend has room for its tensors and
/// `extra` bytes.
///
/// Errors as [`Model::with_types`], and with `Memory` naming the need, the room and what would fit.
pub(crate) fn fitting(
    config: Blueprint,
    sizes: Sizes,
    dtype_of: &dyn Fn(&str) -> Dtype,
    extra: u64,
    backend: &Backend,
) -> Result<Model> {
    let room = backend.max_bytes();
    let enough = |model: &Model| model.needs().total().saturating_add(extra) <= room;
    let refusal = match Model::with_types(config.clone(), sizes, dtype_of) {
        Ok(model) if enough(&model) => return Ok(model),
        Ok(model) => {
            let mut needs = model.needs();
            needs.work += extra;
            let place = if matches!(backend, Backend::Cpu(_)) { "this machine" } else { "the device" };
            format!("the model needs {needs}, {place} has {} free", size(room))
        }
        Err(e) if e.kind() == ErrorKind::Memory => e.to_string(),
        Err(e) => return Err(e),
    };
    let fits = |Smaller { sizes, dtype }: &Smaller| {
        let model = match dtype {
            Some(dtype) => Model::with_types(config.clone(), *sizes, &|_| *dtype),
            None => Model::with_types(config.clone(), *sizes, dtype_of),
        };
        model.is_ok_and(|model| enough(&model))
    };
    let advice = match smaller(sizes).into_iter().find(fits) {
        Some(fit) => format!("it would fit with {}", fit.changes(sizes)),
        None => "no dtype, contextLength and batch would fit".to_owned(),
    };
    Err(Error::memory(format!("{refusal}; {advice}")))
}

/// Something else to ask for.
struct Smaller {
    sizes: Sizes,
    /// Another type of all weights.
    dtype: Option<Dtype>,
}

/// What takes less, what is missed least first: sequences, then context down to a good one, then the
/// precision of weights, then the rest of the context.
fn smaller(sizes: Sizes) -> Vec<Smaller> {
    let width = |dtype: &Dtype| dtype.row_words(64);
    let packed = Dtype::choices().filter(|dtype| width(dtype) < width(&sizes.dtype));
    let dtypes: Vec<_> = std::iter::once(None).chain(packed.map(Some)).collect();
    let is_good = |context: &usize| *context >= GOOD_CONTEXT.min(sizes.context);
    let (good, short): (Vec<_>, Vec<_>) = halves(sizes.context, LEAST_CONTEXT).partition(is_good);
    let mut list = Vec::new();
    for contexts in [good, short] {
        for &dtype in &dtypes {
            for &context in &contexts {
                let of_slots = |slots| Smaller { sizes: Sizes { context, slots, ..sizes }, dtype };
                list.extend(halves(sizes.slots, 1).map(of_slots));
            }
        }
    }
    list
}

/// `from`, then powers of two below it, down to `least` or `from` itself if that is less.
fn halves(from: usize, least: usize) -> impl Iterator<Item = usize> {
    let lower = |&n: &usize| (n > 1).then(|| 1 << (n - 1).ilog2());
    std::iter::successors(Some(from), lower).take_while(move |&n| n == from || n >= least)
}

impl Smaller {
    /// What the caller would change, in the words of the options.
    fn changes(&self, from: Sizes) -> String {
        let mut changes = Vec::new();
        if let Some(dtype) = self.dtype {
            changes.push(format!("dtype {}", dtype.name()));
        }
        if self.sizes.context != from.context {
            changes.push(format!("contextLength {}", self.sizes.context));
        }
        if self.sizes.slots != from.slots {
            changes.push(format!("batch {}", self.sizes.slots));
        }
        match changes.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => "these options".to_owned(),
        }
    }
}
