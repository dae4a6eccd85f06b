//! Rows of an embedding or a head that adapters replace.
//! What is done with them is said by the ops that read them.

use super::Call;
use crate::tensor::TensorId;
use crate::twin::head_delta::ReplacedData;

/// Rows of an embedding or a head that adapters replace: row `map[adapter, token]` of `deltas`, if
/// it is not [`ABSENT`](crate::control::ABSENT), is what the adapter's row for the token has more
/// than the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// (adapters, V) u32
    pub map: TensorId,
    /// (any, C)
    pub deltas: TensorId,
}

impl Replaced {
    /// It with its contents.
    pub(crate) fn data<'a>(&self, call: &Call<'a>) -> ReplacedData<'a> {
        let (v, c) = (call.cols(self.map), call.cols(self.deltas));
        ReplacedData { map: call.u32(self.map), v, deltas: call.f32(self.deltas), c }
    }
}
