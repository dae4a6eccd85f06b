//! One run of an op in main memory, as its file sees it.
//! Where the memory comes from is the backend's business.

use bytemuck::Pod;

use crate::control::{Mix, Row, Training};
use crate::dtype::Dtype;
use crate::pool::Pool;
use crate::tensor::{TensorId, Tensors};
use crate::twin::split_qkv::Heads;
use crate::twin::weight::WeightData;

/// Which implementations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The plain twins only.
    Twin,
    /// The fast ones where they exist.
    Fast,
    /// The same, but activations are rounded to 16 bits where they meet packed weights: a product of whole
    /// numbers is several times as fast. An activation is off by at most 1/65534 of the largest of 32.
    Rounded,
}

/// What an op reads, and which of its versions is to run. The outputs are elsewhere while it does.
#[derive(Debug)]
pub struct Call<'a> {
    /// All that are declared.
    pub(crate) tensors: &'a Tensors,
    /// Their contents, as bit patterns.
    pub(crate) data: &'a [Vec<u32>],
    /// Token rows.
    pub(crate) n: usize,
    /// Which versions run.
    pub(crate) kernels: Kernels,
    /// Who computes the fast ones.
    pub(crate) pool: &'a Pool,
}

// Called a few times an op, and by each: not copied into all of them.
impl<'a> Call<'a> {
    /// Whether the fast version is to run, where there is one. What browsers download has the plain ones
    /// of the other ops alone.
    pub(crate) fn is_fast(&self) -> bool {
        self.kernels != Kernels::Twin || cfg!(all(target_arch = "wasm32", not(debug_assertions)))
    }

    /// Whether activations may be rounded.
    pub(crate) fn rounds(&self) -> bool {
        self.kernels == Kernels::Rounded
    }

    #[inline(never)]
    pub(crate) fn u32(&self, id: TensorId) -> &'a [u32] {
        &self.data[id.index()]
    }

    #[inline(never)]
    pub(crate) fn f32(&self, id: TensorId) -> &'a [f32] {
        debug_assert_eq!(self.tensors.get(id).dtype, Dtype::F32);
        bytemuck::cast_slice(self.u32(id))
    }

    /// The first N rows of a tensor.
    #[inline(never)]
    pub(crate) fn head(&self, id: TensorId) -> &'a [f32] {
        &self.f32(id)[..self.n * self.cols(id)]
    }

    /// The token rows.
    #[inline(never)]
    pub(crate) fn rows(&self, id: TensorId) -> &'a [Row] {
        bytemuck::cast_slice(&self.u32(id)[..4 * self.n])
    }

    #[inline(never)]
    pub(crate) fn mixes(&self, id: TensorId) -> &'a [Mix] {
        bytemuck::cast_slice(self.u32(id))
    }

    #[inline(never)]
    pub(crate) fn training(&self, id: TensorId) -> &'a Training {
        bytemuck::from_bytes(bytemuck::cast_slice(self.u32(id)))
    }

    #[inline(never)]
    pub(crate) fn weight(&self, id: TensorId) -> WeightData<'a> {
        let tensor = self.tensors.get(id);
        WeightData { dtype: tensor.dtype, words: self.u32(id), c: tensor.row_len() }
    }

    /// Elements behind one index of the first axis.
    #[inline(never)]
    pub(crate) fn cols(&self, id: TensorId) -> usize {
        self.tensors.get(id).row_len()
    }

    #[inline(never)]
    pub(crate) fn heads(&self, q: TensorId, k_cache: TensorId, head_dim: usize) -> Heads {
        let k = self.tensors.get(k_cache);
        Heads { q_cols: self.cols(q), kv_cols: k.shape[2], head_dim, s: k.shape[1] }
    }
}

/// Runs the fast version of an op, on the call's threads, or its twin.
macro_rules! run_version {
    ($call:expr, $op:ident($($argument:expr),* $(,)?)) => {
        if $call.is_fast() {
            $crate::fast::$op($call.pool, $($argument),*)
        } else {
            $crate::twin::$op::$op($($argument),*)
        }
    };
}
pub(crate) use run_version;

/// The outputs of an op that writes so many.
pub(crate) fn outputs<T: Pod, const N: usize>(outputs: &mut [Vec<u32>]) -> [&mut [T]; N] {
    let outputs: &mut [Vec<u32>; N] = outputs.try_into().expect("as many as the op writes");
    outputs.each_mut().map(|words| bytemuck::cast_slice_mut(words))
}
