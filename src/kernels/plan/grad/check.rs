//! Whether the shapes of a backward step fit.

use super::super::{Dtype, Mix, Row, TensorId, Tensors, Training};
use super::{AttentionInputs, GradOp, part_columns};

impl GradOp {
    /// Tensors with a row for every token row.
    fn activations(&self) -> Vec<TensorId> {
        match *self {
            Self::Linear { dy, .. } => vec![dy],
            Self::Shrink { rows, dy, dz, .. } => vec![rows, dy, dz],
            Self::Expand { rows, dz, dx, .. } => vec![rows, dz, dx],
            Self::Outer { rows, u, v, .. } => vec![rows, u, v],
            Self::RmsNorm { x, dy, dx, .. }
            | Self::LayerNorm { x, dy, dx, .. }
            | Self::Activation { x, dy, dx, .. } => vec![x, dy, dx],
            Self::AttentionQ { forward, dy, dq, stats } => vec![forward.rows, forward.q, dy, dq, stats],
            Self::AttentionKv { forward, dy, stats, .. } => vec![forward.rows, forward.q, dy, stats],
            Self::SplitQkv { rows, dq, dqkv, .. } => vec![rows, dq, dqkv],
            Self::KeepRows { rows, x, .. } | Self::RecallRows { rows, x, .. } => vec![rows, x],
            Self::CrossEntropy { targets, logits, loss, .. } => vec![targets, logits, loss],
            Self::SquareSum { .. } | Self::AdamW { .. } => vec![],
            Self::Dropout { rows, x, y, .. } => vec![rows, x, y],
        }
    }

    /// Whether every shape fits for `n` rows; the message says which does not.
    pub(in crate::plan) fn check(&self, tensors: &Tensors, n: usize) -> Result<(), String> {
        let cols = |id: TensorId| tensors.get(id).row_len();
        let rows_of = |id: TensorId| tensors.get(id).shape[0];
        let (reads, writes) = (self.reads(), self.writes());
        demand(writes.iter().all(|w| !reads.contains(w)), "an output is also an input")?;
        let twice = |(i, w): (usize, &TensorId)| writes[..i].contains(w);
        demand(!writes.iter().enumerate().any(twice), "two outputs are one tensor")?;
        demand(self.activations().iter().all(|&t| rows_of(t) >= n), "an activation has too few rows")?;
        if let Self::Shrink { rows, .. }
        | Self::Expand { rows, .. }
        | Self::Outer { rows, .. }
        | Self::AttentionQ { forward: AttentionInputs { rows, .. }, .. }
        | Self::AttentionKv { forward: AttentionInputs { rows, .. }, .. }
        | Self::SplitQkv { rows, .. }
        | Self::KeepRows { rows, .. }
        | Self::RecallRows { rows, .. }
        | Self::Dropout { rows, .. } = *self
        {
            let t = tensors.get(rows);
            demand(t.dtype == Dtype::U32 && 4 * t.row_len() == size_of::<Row>(), "rows is not (N, 4) u32")?;
        }
        if let Self::Shrink { mixes, .. } | Self::Expand { mixes, .. } = *self {
            demand(4 * cols(mixes) == size_of::<Mix>(), "mixes is not (mixes, 16)")?;
        }
        if let Self::CrossEntropy { training, .. }
        | Self::AdamW { training, .. }
        | Self::Dropout { training, .. } = *self
        {
            let t = tensors.get(training);
            let fits = t.dtype == Dtype::U32 && 4 * t.len() == size_of::<Training>();
            demand(fits, "training is not (12) u32")?;
        }
        match *self {
            Self::Linear { dy, weight, dx, dx_first, .. } => {
                demand(dx_first + n <= rows_of(dx), "dx has too few rows")?;
                demand(cols(dx) == cols(weight.tensor), "dx and weight differ in C")?;
                let end = weight.first + rows_of(weight.tensor);
                demand(end <= cols(dy), "weight has more rows than dy columns")
            }
            Self::Shrink { dy, b, dz, ranks, parts, .. } => {
                demand(cols(b) == cols(dy), "b and dy differ in F")?;
                demand(rows_of(b) >= ranks, "b has too few ranks")?;
                demand(part_columns(parts, cols(dy)).len() * ranks <= cols(dz), "dz has too few ranks")
            }
            Self::Expand { dz, a, dx, ranks, .. } => {
                demand(cols(dx) == cols(a), "dx and a differ in C")?;
                demand(rows_of(a) <= cols(dz) && rows_of(a) % ranks == 0, "a and dz differ in ranks")
            }
            Self::Outer { u, u_first, v, g, g_first, count, cols: [first, end], .. } => {
                demand(u_first + count <= cols(u), "u has too few columns")?;
                demand(g_first + count <= rows_of(g), "g has too few rows")?;
                demand(cols(g) == cols(v), "g and v differ in columns")?;
                demand(first < end && end <= cols(v), "columns outside v")
            }
            Self::RmsNorm { x, weight, dy, dx, .. } | Self::LayerNorm { x, weight, dy, dx, .. } => {
                let c = rows_of(weight);
                demand([x, dy, dx].iter().all(|&t| cols(t) == c), "x, weight, dy and dx differ in C")
            }
            Self::Activation { x, dy, dx, gated, .. } => {
                let width = if gated { 2 * cols(dy) } else { cols(dy) };
                demand(cols(x) == width && cols(dx) == width, "x, dy and dx differ in F")
            }
            Self::AttentionQ { forward, dy, dq, stats } => {
                let AttentionInputs { q, k_cache, v_cache, head_dim, .. } = forward;
                check_caches(tensors, k_cache, v_cache)?;
                check_heads(tensors, q, k_cache, head_dim)?;
                demand(cols(dy) == cols(q) && cols(dq) == cols(q), "q, dy and dq differ")?;
                demand(cols(stats) == 2 * cols(q) / head_dim, "stats is not (N, 2·H)")
            }
            Self::AttentionKv { forward, dy, stats, dk_cache, dv_cache } => {
                let AttentionInputs { q, k_cache, v_cache, head_dim, .. } = forward;
                check_caches(tensors, k_cache, v_cache)?;
                check_caches(tensors, dk_cache, dv_cache)?;
                let cell = |cache: TensorId| &tensors.get(cache).shape[1..];
                demand(cell(dk_cache) == cell(k_cache), "the gradient caches' slots are not (S, K·D)")?;
                check_heads(tensors, q, k_cache, head_dim)?;
                demand(cols(dy) == cols(q), "q and dy differ")?;
                demand(cols(stats) == 2 * cols(q) / head_dim, "stats is not (N, 2·H)")
            }
            Self::SplitQkv { dq, dk_cache, dv_cache, rope, dqkv, head_dim, .. } => {
                check_caches(tensors, dk_cache, dv_cache)?;
                check_heads(tensors, dq, dk_cache, head_dim)?;
                let [_, s, kv_cols] = tensors.get(dk_cache).shape[..] else { unreachable!("just checked") };
                demand(cols(dqkv) == cols(dq) + 2 * kv_cols, "dqkv is not dq, dk and dv side by side")?;
                demand(cols(rope) == head_dim && rows_of(rope) >= s, "rope is not (S, D)")
            }
            Self::KeepRows { x, y, .. } | Self::RecallRows { x, y, .. } => {
                demand(cols(x) == cols(y), "x and y differ in C")
            }
            Self::CrossEntropy { targets, logits, loss, .. } => {
                let t = tensors.get(targets);
                demand(t.dtype == Dtype::U32 && t.row_len() == 1, "targets is not (N) u32")?;
                demand(cols(loss) == 1 && cols(logits) > 0, "loss is not (N)")
            }
            Self::SquareSum { sums, index, .. } => demand(index < rows_of(sums), "sums has too few elements"),
            Self::AdamW { g, m, v, g_first, param, param_first, len, .. } => {
                let len_of = |id: TensorId| tensors.get(id).len();
                demand(len_of(m) == len_of(g) && len_of(v) == len_of(g), "g, m and v differ")?;
                demand(len > 0 && g_first + len <= len_of(g), "g has too few elements")?;
                demand(param_first + len <= len_of(param), "param has too few elements")
            }
            Self::Dropout { x, y, .. } => demand(cols(x) == cols(y), "x and y differ in C"),
        }
    }
}

fn check_caches(tensors: &Tensors, a: TensorId, b: TensorId) -> Result<(), String> {
    let (a, b) = (tensors.get(a), tensors.get(b));
    demand(a.shape.len() == 3 && a.shape == b.shape, "caches are not (slots, S, K·D)")
}

fn check_heads(tensors: &Tensors, q: TensorId, k_cache: TensorId, head_dim: usize) -> Result<(), String> {
    let (q_cols, kv_cols) = (tensors.get(q).row_len(), tensors.get(k_cache).shape[2]);
    let fit = q_cols % kv_cols == 0 && kv_cols % head_dim == 0;
    demand(fit, "query heads are no multiple of key heads")
}

fn demand(ok: bool, what: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(what.to_owned()) }
}
