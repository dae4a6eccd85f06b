//! What to compute: a list of steps over named tensors, built once and replayed.
//! It knows no architecture and no device.
//!
//! [`Tensors`] declares every buffer a model needs; a [`Plan`] is a list of [`Op`]s over them
//! for one number of token rows. Shapes are checked when a step is pushed, so backends need
//! not. Between replays only the contents of state tensors change.

mod grad;
mod op;
mod training;

use std::fmt;

pub use crate::dtype::Dtype;
pub use grad::{AttentionInputs, GradOp, part_columns};
pub use op::{Delta, Op, Replaced, Shrink, Slice};
pub use training::Training;

use crate::error::{Error, Result};

/// A row that takes no part in a run: it writes nothing to the cache and draws no token.
pub const INACTIVE: u32 = u32::MAX;

/// The most bytes of one tensor on any device: what 32 bits can name.
pub const MAX_TENSOR_BYTES: u64 = u32::MAX as u64;

/// No row of a [`Replaced`], no token drawn.
pub const ABSENT: u32 = u32::MAX;

/// Columns of the `rows (N, 4)` tensor, u32: one line of it tells a token row what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Row {
    /// Token id to embed.
    pub token: u32,
    /// Its position in its sequence.
    pub pos: u32,
    /// The cache slot of its sequence, or [`INACTIVE`].
    pub slot: u32,
    /// The line of `mixes` that names the adapters acting on it; 0 is none.
    pub mix: u32,
}

/// One line of the `mixes (mixes, 16)` tensor: the blocks of ranks that act on a row. Line 0 is
/// the base and stays empty. Switching an adapter writes one of these, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Mix {
    /// How many of `blocks` count.
    pub n_blocks: u32,
    /// The adapters at work.
    pub blocks: [Block; MAX_BLOCKS],
}

/// Most adapters in one mix.
pub const MAX_BLOCKS: usize = 5;

/// Most ranks of all adapters together: what a [`Block`] can name, in steps of four.
pub const MAX_RANKS: usize = 0xffff - 3;

/// Rows up to which a step counts as one of decoding, and may leave partial sums to the next.
pub const FEW_ROWS: usize = 8;

/// One adapter of a [`Mix`].
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    /// First rank, and in the upper half the number of ranks.
    pub ranks: u32,
    /// Index of the adapter's gain and shift, see [`Delta`], and in the upper half whether it
    /// has any.
    pub adapter: u32,
    /// γ
    pub weight: f32,
}

impl Block {
    /// Ranks `first..first + count` of adapter `adapter`, at strength `weight`; `affine` if it
    /// has gains or shifts.
    pub fn new(first: usize, count: usize, adapter: usize, affine: bool, weight: f32) -> Self {
        Self {
            ranks: (first | count << 16) as u32,
            adapter: (adapter | usize::from(affine) << 16) as u32,
            weight,
        }
    }

    /// The adapter's index.
    pub fn index(&self) -> usize {
        self.adapter as usize & 0xffff
    }

    /// The adapter's index, if it has gains or shifts.
    pub fn affine(&self) -> Option<usize> {
        (self.adapter >> 16 != 0).then_some(self.index())
    }

    /// The ranks as a range.
    pub fn range(&self) -> std::ops::Range<usize> {
        let first = self.ranks as usize & 0xffff;
        first..first + (self.ranks as usize >> 16)
    }
}

impl Mix {
    /// The blocks that count.
    pub fn active(&self) -> &[Block] {
        &self.blocks[..self.n_blocks as usize]
    }
}

/// One line of the `sampling (slots, 12)` tensor: how the next token of a slot is drawn.
///
/// The order of the filters and their meaning are those of transformers' logits processors.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Sampling {
    /// 0 takes the most probable token; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probabilities reach this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already seen; 1 is off.
    pub repetition_penalty: f32,
    /// Keep this many tokens; 0 keeps all.
    pub top_k: u32,
    /// Names the noise: the same seed draws the same tokens on one device.
    pub seed: u32,
    /// How many of `stop` count.
    pub n_stop: u32,
    /// Zero.
    pub padding: u32,
    /// A drawn token in this list makes its row inactive.
    pub stop: [u32; 4],
}

/// Tokens a slot keeps on the device before they are read: `ring (slots, RING)` holds the
/// token of position p at column p mod RING.
pub const RING: usize = 64;

/// Names one declared tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u32);

impl TensorId {
    /// Position in [`Tensors`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One declared tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// For people and error messages.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Row-major, outermost first.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes.
    pub fn bytes(&self) -> u64 {
        4 * self.words() as u64
    }

    /// Elements behind one index of the first axis.
    pub fn row_len(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// 32-bit words behind one index of the first axis.
    pub fn row_words(&self) -> usize {
        self.dtype.row_words(self.row_len())
    }

    /// 32-bit words of the whole.
    pub fn words(&self) -> usize {
        self.shape[0] * self.row_words()
    }
}

/// Every tensor of a model, shared by all its plans.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    list: Vec<Tensor>,
}

impl Tensors {
    /// Declares a tensor; it starts as zeros.
    ///
    /// Errors with `Memory` if its bytes overflow the address space of any device.
    pub fn declare(&mut self, name: impl Into<String>, dtype: Dtype, shape: &[usize]) -> Result<TensorId> {
        let name = name.into();
        check_size(&name, dtype, shape)?;
        debug_assert!(dtype.fits(shape[1..].iter().product()), "`{name}`: {shape:?} is not {dtype:?}");
        let id = TensorId(self.list.len() as u32);
        self.list.push(Tensor { name, dtype, shape: shape.to_vec() });
        Ok(id)
    }

    /// Gives a tensor another shape. Its contents are lost, and plans over it must be made anew.
    ///
    /// Errors as [`declare`](Self::declare) does.
    pub fn reshape(&mut self, id: TensorId, shape: &[usize]) -> Result<()> {
        let tensor = &mut self.list[id.index()];
        check_size(&tensor.name, tensor.dtype, shape)?;
        tensor.shape = shape.to_vec();
        Ok(())
    }

    /// The declaration behind an id.
    pub fn get(&self, id: TensorId) -> &Tensor {
        &self.list[id.index()]
    }

    /// All declarations, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        self.list.iter().enumerate().map(|(i, t)| (TensorId(i as u32), t))
    }

    /// Bytes of all tensors together.
    pub fn total_bytes(&self) -> u64 {
        self.list.iter().map(Tensor::bytes).sum()
    }
}

/// By the bytes it takes, which are fewer than its elements' where these share words.
fn check_size(name: &str, dtype: Dtype, shape: &[usize]) -> Result<()> {
    let row = shape[1..].iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let words = row.and_then(|row| dtype.row_words(row).checked_mul(shape[0]));
    let bytes = words.and_then(|words| (words as u64).checked_mul(4));
    if bytes.is_none_or(|b| b > MAX_TENSOR_BYTES) {
        let dtype = dtype.name();
        return Err(Error::memory(format!("tensor `{name}`: shape {shape:?} of {dtype} is past 4 GiB")));
    }
    Ok(())
}

/// A list of steps for `n` token rows.
#[derive(Clone, Debug)]
pub struct Plan {
    n: usize,
    steps: Vec<Op>,
}

impl Plan {
    /// An empty plan for `n` token rows.
    pub fn new(n: usize) -> Self {
        assert!(n > 0, "a plan needs at least one row");
        Self { n, steps: Vec::new() }
    }

    /// Token rows of one run.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Op] {
        &self.steps
    }

    /// Appends a step. Panics if its shapes do not fit: plans are built by our own code from a
    /// checked config, so a misfit is a bug here and not in the caller's input.
    pub fn push(&mut self, tensors: &Tensors, op: Op) {
        if let Err(misfit) = op.check(tensors, self.n) {
            panic!("step {} `{}`: {misfit}", self.steps.len(), op.name());
        }
        self.steps.push(op);
    }

    /// The plan as text, one line a step: `rms_norm x (8, 64), norm.weight (64) -> xn (8, 64)`.
    pub fn display<'a>(&'a self, tensors: &'a Tensors) -> impl fmt::Display + 'a {
        Listing { plan: self, tensors }
    }
}

struct Listing<'a> {
    plan: &'a Plan,
    tensors: &'a Tensors,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan for {} rows", self.plan.n)?;
        for (i, op) in self.plan.steps.iter().enumerate() {
            let names = |ids: Vec<TensorId>| {
                let names = ids.into_iter().map(|id| {
                    let t = self.tensors.get(id);
                    format!("{} {:?}", t.name, t.shape)
                });
                names.collect::<Vec<_>>().join(", ")
            };
            writeln!(f, "{i:4} {:12} {} -> {}", op.name(), names(op.reads()), names(op.writes()))?;
        }
        Ok(())
    }
}
