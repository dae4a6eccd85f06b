//! What an op's launch is made of, and what it is computed from.
//! Nothing here touches a device.

use std::collections::BTreeMap;

use bytemuck::{Pod, bytes_of};

use crate::ops::Operation;
use crate::plan::{Dtype, TensorId, Tensors};

use super::kernels::Kernel;
use super::known_cases::Made;

/// A buffer of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A tensor's.
    Tensor(TensorId),
    /// All that lies in one buffer with a tensor.
    Around(TensorId),
    /// These words, which no tensor has.
    Table(Vec<u32>),
    /// None: an optional input, or output, is absent.
    Absent,
    /// So many bytes that one launch of an op leaves to the next, and nobody else reads.
    Scratch(u64),
}

impl From<Option<TensorId>> for Binding {
    fn from(id: Option<TensorId>) -> Self {
        id.map_or(Self::Absent, Self::Tensor)
    }
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// Bytes of its `Params`.
    pub(crate) params: Vec<u8>,
    /// What lies at binding 1 and on.
    pub(crate) bindings: Vec<Binding>,
    /// Grid.
    pub(crate) workgroups: [u32; 3],
}

impl Dispatch {
    /// That of an op, on a grid of so many workgroups.
    pub(super) fn new(op: &dyn Launch, kernel: Kernel, params: &impl Pod, workgroups: [u32; 3]) -> Self {
        let bindings = op.bindings().into_iter().map(Binding::from).collect();
        Self { kernel, params: bytes_of(params).to_vec(), bindings, workgroups }
    }

    /// The same with other buffers.
    pub(super) fn over(self, bindings: Vec<Binding>) -> Self {
        Self { bindings, ..self }
    }

    /// Bytes that it shares with other launches of its op.
    pub(crate) fn scratch(&self) -> u64 {
        let bytes = |binding: &Binding| if let Binding::Scratch(bytes) = binding { *bytes } else { 0 };
        self.bindings.iter().map(bytes).max().unwrap_or(0)
    }
}

/// What the file of an op's launch says of it.
pub(super) trait Launch: Operation {
    /// Which kernel computes it, with which parameters, by how many workgroups.
    fn launch(&self, target: &Target) -> Dispatch;

    /// All launches, in order, where one does not do.
    fn launches(&self, target: &Target) -> Vec<Dispatch> {
        vec![self.launch(target)]
    }

    /// The shader's buffers: what the op reads, then what it writes. Ops with optional ones say which
    /// are absent.
    fn bindings(&self) -> Vec<Option<TensorId>> {
        self.reads().into_iter().chain(self.writes()).map(Some).collect()
    }

    /// About how long it takes, in multiplications, as far as it is heavy: for `pace`, which needs no more.
    fn work(&self, target: &Target) -> u64 {
        u64::from(target.n) * self.writes().iter().map(|&id| u64::from(target.cols(id))).sum::<u64>()
    }

    /// One on a few made-up numbers, which fill more than one tile of the kernel and leave its last one
    /// half empty.
    fn case(made: &mut Made, kernel: &Kernel) -> Self
    where
        Self: Sized;
}

/// Most workgroups along one axis.
pub(super) const MOST_WORKGROUPS: u32 = 65535;

/// Multiplications in the time that a byte takes to come from memory.
const PER_BYTE: u64 = 8;

/// Rows and columns of the tiles of `shaders/shared/tile.wgsl`.
const TILE: u32 = 32;
/// The same of `shaders/shared/wide_tile.wgsl`.
const WIDE: u32 = 64;

/// What a launch is computed from: a plan's tensors and rows, and a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    tensors: &'a Tensors,
    /// Token rows.
    pub(crate) n: u32,
    /// The override `LANES`: invocations for each dot product, 1 on software adapters.
    pub(crate) lanes: u32,
}

impl<'a> Target<'a> {
    /// A plan for `n` rows over these tensors.
    pub(super) fn new(tensors: &'a Tensors, n: usize, lanes: u32) -> Self {
        Self { tensors, n: n as u32, lanes }
    }

    /// Elements behind one index of the first axis.
    pub(super) fn cols(&self, id: TensorId) -> u32 {
        self.tensors.get(id).row_len() as u32
    }

    /// Length of the first axis.
    pub(super) fn lines(&self, id: TensorId) -> u32 {
        self.tensors.get(id).shape[0] as u32
    }

    /// Where each tensor begins in the buffer that it shares, in words.
    pub(super) fn first_words(&self) -> BTreeMap<TensorId, usize> {
        self.tensors.buffers().into_iter().flatten().collect()
    }

    /// Elements of all.
    pub(super) fn len(&self, id: TensorId) -> u32 {
        self.tensors.get(id).len() as u32
    }

    /// Element type.
    pub(super) fn dtype(&self, id: TensorId) -> Dtype {
        self.tensors.get(id).dtype
    }

    /// The shape of a cache: slots, S and K·D.
    pub(super) fn cache(&self, id: TensorId) -> [u32; 3] {
        [0, 1, 2].map(|axis| self.tensors.get(id).shape[axis] as u32)
    }

    /// An invocation for each of so many elements of a row.
    pub(super) fn threads(&self, kernel: Kernel, per_row: u32) -> [u32; 3] {
        [per_row.div_ceil(kernel.workgroup_size), self.n, 1]
    }

    /// Workgroups for so many rows of a matrix, of which `LANES` invocations each take on four.
    pub(super) fn fours(&self, kernel: Kernel, lines: u32) -> u32 {
        lines.div_ceil(4 * kernel.workgroup_size / self.lanes)
    }

    /// A workgroup for each tile of `shaders/shared/wide_tile.wgsl`.
    pub(super) fn wide_tiles(&self, lines: u32, cols: u32) -> [u32; 3] {
        [cols.div_ceil(WIDE), lines.div_ceil(WIDE), 1]
    }

    /// A workgroup for each tile of a matrix.
    pub(super) fn tiles(&self, lines: u32, cols: u32) -> [u32; 3] {
        [cols.div_ceil(TILE), lines.div_ceil(TILE), 1]
    }

    /// The work of a matrix, which is read once and multiplied with every row.
    pub(super) fn matrix(&self, id: TensorId) -> u64 {
        let tensor = self.tensors.get(id);
        u64::from(self.n) * tensor.len() as u64 + PER_BYTE * tensor.bytes()
    }

    /// The work of a product with the keys of a cache, as many as there are at most.
    pub(super) fn keys(&self, q: TensorId, cache: TensorId) -> u64 {
        let [_, s, _] = self.cache(cache);
        u64::from(self.n) * u64::from(self.cols(q)) * u64::from(s)
    }
}

/// Field names and byte offsets of a kernel's `Params`, and their size.
pub(crate) type Layout = (&'static [(&'static str, usize)], usize);

/// The struct `Params` of a kernel, as its shader has it; a test compares them.
macro_rules! params {
    ($($field:ident: $ty:ty),* $(,)?) => {
        /// As the shader has it, which explains its fields.
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        struct Params { $($field: $ty),* }

        /// That of `Params`.
        pub(crate) const LAYOUT: $crate::gpu::launch::Layout =
            (&[$((stringify!($field), std::mem::offset_of!(Params, $field))),*], size_of::<Params>());
    };
}
pub(super) use params;
