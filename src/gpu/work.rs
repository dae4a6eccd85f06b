//! About how long an op takes, in multiplications, as far as it is heavy: for `pace`, which needs no more.

use crate::plan::{GradOp, Op, TensorId, Tensors};

/// Multiplications in the time that a byte takes to come from memory.
const PER_BYTE: u64 = 8;

/// The work of `op` on `n` rows.
pub fn work(op: &Op, tensors: &Tensors, n: usize) -> u64 {
    let n = n as u64;
    let cols = |id: TensorId| tensors.get(id).row_len() as u64;
    // A matrix is read once, and multiplied with every row.
    let matrix = |id: TensorId| n * tensors.get(id).len() as u64 + PER_BYTE * tensors.get(id).bytes();
    // The keys that there are at most.
    let keys = |cache: TensorId| tensors.get(cache).shape[1] as u64;
    match *op {
        Op::Linear { weight, .. } => matrix(weight.tensor),
        Op::Shrink { shrink, .. } => matrix(shrink.a),
        Op::Norm { y, shrink, .. } => n * cols(y) + shrink.map_or(0, |shrink| matrix(shrink.a)),
        Op::Attention { q, k_cache, .. } => 2 * n * cols(q) * keys(k_cache),
        Op::Grad(ref op) => match *op {
            GradOp::Linear { weight, .. } => matrix(weight.tensor),
            GradOp::Shrink { b, .. } => matrix(b),
            GradOp::Expand { a, .. } => matrix(a),
            GradOp::Outer { count, cols: [first, end], .. } => n * (count * (end - first)) as u64,
            GradOp::AttentionQ { ref forward, .. } | GradOp::AttentionKv { ref forward, .. } => {
                4 * n * cols(forward.q) * keys(forward.k_cache)
            }
            _ => n * op.writes().iter().map(|&id| cols(id)).sum::<u64>(),
        },
        _ => n * op.writes().iter().map(|&id| cols(id)).sum::<u64>(),
    }
}
