//! Runs the steps of backward plans: from a [`GradOp`] to the function of its name.

use crate::plan::{AttentionInputs, GradOp, TensorId, Training};

use super::{Cpu, Kernels, cast};
use crate::fast;
use crate::twin::linear::Columns;
use crate::twin::{
    activation_grad, adam_w, attention_grad_kv, attention_grad_q, cross_entropy, dropout, expand_grad,
    keep_rows, layer_norm_grad, linear_grad, outer_grad, recall_rows, rms_norm_grad, shrink_grad,
    split_qkv_grad, square_sum,
};

impl Cpu {
    fn training(&self, id: TensorId) -> &Training {
        bytemuck::from_bytes(bytemuck::cast_slice(&self.data[id.index()]))
    }

    /// Runs `op` on `n` rows; `outputs` are the tensors it writes.
    pub(super) fn grad_step(&self, op: &GradOp, n: usize, outputs: &mut [Vec<u32>]) {
        let fast = self.kernels == Kernels::Fast;
        let rows = |id: TensorId| -> &[_] { bytemuck::cast_slice(&self.data[id.index()][..4 * n]) };
        let mixes = |id: TensorId| -> &[_] { bytemuck::cast_slice(&self.data[id.index()]) };
        let cols = |id: TensorId| self.tensors.get(id).row_len();
        let (out, others) = outputs.split_first_mut().expect("every op writes");
        match *op {
            GradOp::Linear { dy, weight, dx, dx_first, accumulate } => {
                let run = if fast { fast::linear_grad } else { linear_grad::linear_grad };
                let columns = Columns { first: weight.first, stride: cols(dy) };
                let dx = &mut cast(out)[dx_first * cols(dx)..];
                run(self.head(dy, n), self.weight(weight.tensor), columns, accumulate, dx);
            }
            GradOp::Shrink { rows: r, mixes: m, dy, b, dz, ranks, parts } => {
                let run = if fast { fast::shrink_grad } else { shrink_grad::shrink_grad };
                let (dy_data, f) = (self.head(dy, n), cols(dy));
                run(rows(r), mixes(m), dy_data, self.f32(b), f, ranks, parts, cols(dz), cast(out));
            }
            GradOp::Expand { rows: r, mixes: m, dz, a, dx, ranks, accumulate } => {
                let run = if fast { fast::expand_grad } else { expand_grad::expand_grad };
                let (dz_data, z_cols) = (self.head(dz, n), cols(dz));
                run(rows(r), mixes(m), dz_data, self.f32(a), cols(dx), ranks, z_cols, accumulate, cast(out));
            }
            GradOp::Outer { rows: r, u, u_first, v, g_first, count, cols: [first, end], .. } => {
                let run = if fast { fast::outer_grad } else { outer_grad::outer_grad };
                let u = (self.head(u, n), Columns { first: u_first, stride: cols(u) });
                let v = (self.head(v, n), Columns { first, stride: cols(v) });
                run(rows(r), u, v, count, end - first, &mut cast(out)[g_first * v.1.stride..]);
            }
            GradOp::RmsNorm { x, weight, dy, eps, .. } => {
                let (x, dy) = (self.head(x, n), self.head(dy, n));
                rms_norm_grad::rms_norm_grad(x, self.f32(weight), dy, eps, cast(out));
            }
            GradOp::LayerNorm { x, weight, dy, eps, .. } => {
                let (x, dy) = (self.head(x, n), self.head(dy, n));
                layer_norm_grad::layer_norm_grad(x, self.f32(weight), dy, eps, cast(out));
            }
            GradOp::Activation { x, dy, kind, gated, .. } => {
                let run = if fast { fast::activation_grad } else { activation_grad::activation_grad };
                run(self.head(x, n), self.head(dy, n), kind, gated, cols(dy), cast(out));
            }
            GradOp::AttentionQ { forward, dy, .. } => {
                let run = if fast { fast::attention_grad_q } else { attention_grad_q::attention_grad_q };
                let AttentionInputs { rows: r, q, k_cache, v_cache, head_dim, scale, window } = forward;
                let heads = self.heads(q, k_cache, head_dim);
                let (k, v, dy) = (self.f32(k_cache), self.f32(v_cache), self.f32(dy));
                let [stats] = others else { unreachable!("attention_grad_q writes dq and stats") };
                run(rows(r), self.f32(q), k, v, dy, heads, scale, window, cast(out), cast(stats));
            }
            GradOp::AttentionKv { forward, dy, stats, .. } => {
                let run = if fast { fast::attention_grad_kv } else { attention_grad_kv::attention_grad_kv };
                let AttentionInputs { rows: r, q, k_cache, v_cache, head_dim, scale, window } = forward;
                let heads = self.heads(q, k_cache, head_dim);
                let (k, v, dy) = (self.f32(k_cache), self.f32(v_cache), self.f32(dy));
                let (q, stats) = (self.f32(q), self.f32(stats));
                let [dv] = others else { unreachable!("attention_grad_kv writes dk and dv") };
                run(rows(r), q, k, v, dy, stats, heads, scale, window, cast(out), cast(dv));
            }
            GradOp::SplitQkv { rows: r, dq, dk_cache, dv_cache, rope, head_dim, .. } => {
                let heads = self.heads(dq, dk_cache, head_dim);
                let (dk, dv) = (self.f32(dk_cache), self.f32(dv_cache));
                split_qkv_grad::split_qkv_grad(
                    rows(r),
                    self.f32(dq),
                    dk,
                    dv,
                    self.f32(rope),
                    heads,
                    cast(out),
                );
            }
            GradOp::KeepRows { rows: r, x, .. } => {
                keep_rows::keep_rows(rows(r), self.head(x, n), cols(x), cast(out));
            }
            GradOp::RecallRows { rows: r, y, x } => {
                recall_rows::recall_rows(rows(r), self.f32(y), cols(x), cast(out));
            }
            GradOp::CrossEntropy { training, targets, logits, .. } => {
                let run = if fast { fast::cross_entropy } else { cross_entropy::cross_entropy };
                let [loss] = others else { unreachable!("cross_entropy writes logits and loss") };
                let targets = &self.data[targets.index()][..n];
                run(self.training(training), targets, cast(out), cols(logits), cast(loss));
            }
            GradOp::SquareSum { g, index, .. } => {
                square_sum::square_sum(self.f32(g), &mut cast(out)[index]);
            }
            GradOp::AdamW { training, sums, g_first, param_first, len, .. } => {
                let [m, v, param] = others else { unreachable!("adam_w writes g, m, v and param") };
                let [g, m, v] = [out, m, v].map(|words| &mut cast(words)[g_first..][..len]);
                let param = &mut cast(param)[param_first..][..len];
                adam_w::adam_w(self.training(training), self.f32(sums), g, m, v, param);
            }
            GradOp::Dropout { training, rows: r, x, site, accumulate, .. } => {
                let (x_data, c) = (self.head(x, n), cols(x));
                dropout::dropout(self.training(training), rows(r), x_data, c, site, accumulate, cast(out));
            }
        }
    }
}
