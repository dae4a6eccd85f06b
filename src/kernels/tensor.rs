//! Tensors by name, type and shape; what they hold is the backends' business.
//! It knows no op.

use std::collections::BTreeMap;

use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// The most bytes of one tensor on any device: what 32 bits can name.
pub const MAX_TENSOR_BYTES: u64 = u32::MAX as u64;

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
    /// With which others a device has it in one buffer, if with any.
    pub arena: Option<usize>,
}

/// Words at whose multiples tensors of one arena begin: what every device can bind.
const ARENA_STEP: usize = 64;

impl Tensor {
    /// Number of elements.
    #[inline(never)]
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
    #[inline(never)]
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
        self.list.push(Tensor { name, dtype, shape: shape.to_vec(), arena: None });
        Ok(id)
    }

    /// Lets a device have a tensor in one buffer with the others of `arena`, so that one step can write them all.
    /// Like another shape it may cost them their contents.
    pub fn put(&mut self, id: TensorId, arena: usize) {
        self.list[id.index()].arena = Some(arena);
    }

    /// Words that a tensor takes in an arena.
    pub fn arena_words(&self, id: TensorId) -> usize {
        self.get(id).words().next_multiple_of(ARENA_STEP)
    }

    /// The tensors that share a buffer, each list in the order of their ids, and where each begins there, in words.
    pub fn buffers(&self) -> Vec<Vec<(TensorId, usize)>> {
        let mut buffers: Vec<Vec<(TensorId, usize)>> = Vec::new();
        let mut arenas: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (id, tensor) in self.iter() {
            let Some(arena) = tensor.arena else {
                buffers.push(vec![(id, 0)]);
                continue;
            };
            let (buffer, end) = arenas.entry(arena).or_insert_with(|| {
                buffers.push(Vec::new());
                (buffers.len() - 1, 0)
            });
            buffers[*buffer].push((id, *end));
            *end += self.arena_words(id);
        }
        buffers
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
    #[inline(never)]
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
