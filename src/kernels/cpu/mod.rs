//! The CPU backend: runs a plan step by step in main memory.
//!
//! Which version of an op runs, `twin` or `fast`, is chosen when it is made.

mod grad;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::fast;
use crate::machine;
use crate::plan::{Dtype, Op, Plan, Replaced, Shrink, TensorId, Tensors};
use crate::twin::head_delta::ReplacedData;
use crate::twin::linear::{Columns, DeltaData};
use crate::twin::shrink::ShrinkData;
use crate::twin::split_qkv::Heads;
use crate::twin::weight::WeightData;
use crate::twin::{
    activation, affine, attention, embed, embed_delta, head_delta, linear, norm, sample, shrink, split_qkv,
};

/// Which implementations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The plain twins only.
    Twin,
    /// The fast ones where they exist.
    Fast,
}

/// Tensors in main memory, as bit patterns.
#[derive(Debug)]
pub struct Cpu {
    kernels: Kernels,
    tensors: Tensors,
    data: Vec<Vec<u32>>,
    max_bytes: Option<u64>,
}

/// Bytes of the tensors of all CPU backends, now and at most so far.
static HELD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

impl Cpu {
    /// An empty backend.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, tensors: Tensors::default(), data: Vec::new(), max_bytes: None }
    }

    /// An empty backend that takes so many bytes and no more, whatever the machine has; for tests.
    pub fn with_max_bytes(kernels: Kernels, max_bytes: u64) -> Self {
        let mut cpu = Self::new(kernels);
        cpu.max_bytes = Some(max_bytes);
        cpu
    }

    /// The most bytes all tensors together may have, as far as that is known.
    pub fn max_bytes(&self) -> Option<u64> {
        let held = self.tensors.total_bytes();
        self.max_bytes.or_else(|| machine::free(Self::given_back()).map(|free| free.saturating_add(held)))
    }

    /// Makes room, zeroed, for every tensor declared or reshaped since the last call. On an error
    /// nothing is changed.
    pub fn allocate(&mut self, tensors: &Tensors) -> Result<()> {
        if self.max_bytes.is_some_and(|most| tensors.total_bytes() > most) {
            let (all, most) = (tensors.total_bytes(), self.max_bytes.unwrap_or(0));
            return Err(Error::memory(format!("{all} bytes of tensors, expected at most {most}")));
        }
        let mut fresh = Vec::new();
        for (id, tensor) in tensors.iter() {
            if self.data.get(id.index()).is_some_and(|data| data.len() == tensor.words()) {
                continue;
            }
            let mut data = Vec::new();
            data.try_reserve_exact(tensor.words()).map_err(|_| {
                Error::memory(format!(
                    "tensor `{}`: {} bytes are not to be had",
                    tensor.name,
                    4 * tensor.words()
                ))
            })?;
            fresh.push((id.index(), data, tensor.words()));
        }
        for (index, mut data, words) in fresh {
            data.resize(words, 0);
            match self.data.get_mut(index) {
                Some(held) => *held = data,
                None => self.data.push(data),
            }
        }
        self.hold(tensors.clone());
        Ok(())
    }

    fn hold(&mut self, tensors: Tensors) {
        let [now, most] = &HELD;
        now.fetch_sub(self.tensors.total_bytes(), Relaxed);
        let held = now.fetch_add(tensors.total_bytes(), Relaxed) + tensors.total_bytes();
        most.fetch_max(held, Relaxed);
        self.tensors = tensors;
    }

    /// Writes words from word `offset` of a tensor on.
    pub fn upload(&mut self, id: TensorId, offset: usize, words: &[u32]) {
        self.data[id.index()][offset..][..words.len()].copy_from_slice(words);
    }

    /// Fills a tensor with zeros.
    pub fn clear(&mut self, id: TensorId) {
        self.data[id.index()].fill(0);
    }

    /// The words `offset..offset + len` of a tensor.
    pub fn read(&self, id: TensorId, offset: usize, len: usize) -> Vec<u32> {
        self.data[id.index()][offset..][..len].to_vec()
    }

    /// Runs the plan `times` times.
    pub fn run(&mut self, plan: &Plan, times: usize) {
        for _ in 0..times {
            for op in plan.steps() {
                self.step(op, plan.n());
            }
        }
    }

    /// Bytes that tensors of CPU backends have given back since they were most.
    fn given_back() -> u64 {
        let [now, most] = &HELD;
        most.load(Relaxed).saturating_sub(now.load(Relaxed))
    }

    fn f32(&self, id: TensorId) -> &[f32] {
        debug_assert_eq!(self.tensors.get(id).dtype, Dtype::F32);
        bytemuck::cast_slice(&self.data[id.index()])
    }

    fn weight(&self, id: TensorId) -> WeightData<'_> {
        let tensor = self.tensors.get(id);
        WeightData { dtype: tensor.dtype, words: &self.data[id.index()], c: tensor.row_len() }
    }

    /// The first `n` rows of a tensor.
    fn head(&self, id: TensorId, n: usize) -> &[f32] {
        &self.f32(id)[..n * self.tensors.get(id).row_len()]
    }

    /// Runs one op on `n` rows. Outputs are taken out of the store while it runs, so that they
    /// can be borrowed beside the inputs.
    fn step(&mut self, op: &Op, n: usize) {
        let fast = self.kernels == Kernels::Fast;
        let mut outputs: Vec<Vec<u32>> =
            op.writes().iter().map(|id| std::mem::take(&mut self.data[id.index()])).collect();
        let rows = |id: TensorId| -> &[_] { bytemuck::cast_slice(&self.data[id.index()][..4 * n]) };
        let cols = |id: TensorId| self.tensors.get(id).row_len();
        let (out, others) = outputs.split_first_mut().expect("every op writes");
        match *op {
            Op::Embed { rows: r, table, positions, .. } => {
                let positions = positions.map(|p| self.f32(p));
                embed::embed(rows(r), self.weight(table.tensor), table.first, positions, cast(out));
            }
            Op::EmbedDelta { rows: r, mixes, a, b, ranks, replaced, y } => {
                let mixes = bytemuck::cast_slice(&self.data[mixes.index()]);
                let replaced = replaced.map(|r| self.replaced(r));
                let (a, b) = (self.f32(a), self.f32(b));
                embed_delta::embed_delta(rows(r), mixes, a, b, ranks, replaced, cols(y), cast(out));
            }
            Op::HeadDelta { rows: r, mixes, x, replaced, .. } => {
                let mixes = bytemuck::cast_slice(&self.data[mixes.index()]);
                let x = self.head(x, n);
                head_delta::head_delta(rows(r), mixes, x, self.replaced(replaced), cast(out));
            }
            Op::Norm { x, weight, bias, eps, centred, shrink, .. } => {
                let run = if fast { fast::norm } else { norm::norm };
                let bias = bias.map(|b| self.f32(b));
                run(self.head(x, n), self.f32(weight), bias, eps, centred, cast(out));
                self.ride(shrink, n, cols(x), out, others);
            }
            Op::Shrink { x, shrink } => {
                self.shrink(shrink, n, self.head(x, n), cols(x), cast(out));
            }
            Op::Affine { rows: r, mixes, gains, x } => {
                let mixes = bytemuck::cast_slice(&self.data[mixes.index()]);
                affine::affine(rows(r), mixes, self.f32(gains), cols(x), cast(out));
            }
            Op::Linear { x, weight, bias, y, accumulate, delta } => {
                let run = if fast { fast::linear } else { linear::linear };
                let columns = Columns { first: weight.first, stride: cols(y) };
                let bias = bias.map(|b| self.f32(b));
                let delta = delta.map(|delta| DeltaData {
                    rows: rows(delta.rows),
                    mixes: bytemuck::cast_slice(&self.data[delta.mixes.index()]),
                    z: self.head(delta.z, n),
                    z_cols: cols(delta.z),
                    b: self.f32(delta.b),
                    ranks: delta.ranks,
                    partials: delta.partials,
                    parts: delta.parts,
                });
                let weight = self.weight(weight.tensor);
                run(self.head(x, n), weight, bias, columns, accumulate, delta, cast(out));
            }
            Op::Activation { x, y, kind, gated } => {
                let run = if fast { fast::activation } else { activation::activation };
                run(self.head(x, n), kind, gated, cols(y), cast(out));
            }
            Op::SplitQkv { rows: r, qkv, rope, q, k_cache, head_dim, .. } => {
                let [k, v] = others else { unreachable!("split_qkv writes q, k and v") };
                let heads = self.heads(q, k_cache, head_dim);
                split_qkv::split_qkv(
                    rows(r),
                    self.f32(qkv),
                    self.f32(rope),
                    heads,
                    cast(out),
                    cast(k),
                    cast(v),
                );
            }
            Op::Attention { rows: r, q, k_cache, v_cache, head_dim, scale, window, shrink, .. } => {
                let run = if fast { fast::attention } else { attention::attention };
                let heads = self.heads(q, k_cache, head_dim);
                let (k, v) = (self.f32(k_cache), self.f32(v_cache));
                run(rows(r), self.f32(q), k, v, heads, scale, window, cast(out));
                self.ride(shrink, n, cols(q), out, others);
            }
            Op::Sample { logits, sampling, .. } => {
                let [rows, ring] = others else { unreachable!("sample writes seen, rows and ring") };
                let sampling = bytemuck::cast_slice(&self.data[sampling.index()]);
                let rows = bytemuck::cast_slice_mut(&mut rows[..4 * n]);
                sample::sample(self.head(logits, n), sampling, out, rows, ring);
            }
            Op::Grad(ref op) => self.grad_step(op, n, &mut outputs),
        }
        for (id, data) in op.writes().into_iter().zip(outputs) {
            self.data[id.index()] = data;
        }
    }

    /// The shrink that rides in an op whose output is `y`, if one does.
    fn ride(&self, shrink: Option<Shrink>, n: usize, c: usize, y: &[u32], others: &mut [Vec<u32>]) {
        if let (Some(shrink), [z]) = (shrink, others) {
            self.shrink(shrink, n, bytemuck::cast_slice(&y[..n * c]), c, cast(z));
        }
    }

    /// z = γ ∘ A·x
    fn shrink(&self, shrink: Shrink, n: usize, x: &[f32], c: usize, z: &mut [f32]) {
        let data = ShrinkData {
            rows: bytemuck::cast_slice(&self.data[shrink.rows.index()][..4 * n]),
            mixes: bytemuck::cast_slice(&self.data[shrink.mixes.index()]),
            a: self.f32(shrink.a),
            ranks: shrink.ranks,
            z_cols: self.tensors.get(shrink.z).row_len(),
            partials: shrink.partials,
        };
        let run = if self.kernels == Kernels::Fast { fast::shrink } else { shrink::shrink };
        run(x, data, c, z);
    }

    fn replaced(&self, Replaced { map, deltas }: Replaced) -> ReplacedData<'_> {
        let cols = |id| self.tensors.get(id).row_len();
        ReplacedData { map: &self.data[map.index()], v: cols(map), deltas: self.f32(deltas), c: cols(deltas) }
    }

    fn heads(&self, q: TensorId, k_cache: TensorId, head_dim: usize) -> Heads {
        let k = self.tensors.get(k_cache);
        Heads { q_cols: self.tensors.get(q).row_len(), kv_cols: k.shape[2], head_dim, s: k.shape[1] }
    }
}

fn cast(words: &mut [u32]) -> &mut [f32] {
    bytemuck::cast_slice_mut(words)
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.hold(Tensors::default());
    }
}
