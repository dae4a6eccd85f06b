//! The CPU backend: runs a plan step by step in main memory.
//!
//! Which version of an op runs, `twin` or `fast`, is chosen when it is made.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::machine;
pub use crate::ops::Kernels;
use crate::ops::{Call, Op};
use crate::plan::Plan;
use crate::pool::{LEAST_WORK, Pool};
use crate::tensor::{TensorId, Tensors};

/// Tensors in main memory, as bit patterns.
#[derive(Debug)]
pub struct Cpu {
    kernels: Kernels,
    tensors: Tensors,
    data: Vec<Vec<u32>>,
    max_bytes: Option<u64>,
    pool: Pool,
}

/// Bytes of the tensors of all CPU backends, now and at most so far.
static HELD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

impl Cpu {
    /// An empty backend that computes on the calling thread alone.
    pub fn new(kernels: Kernels) -> Self {
        Self::with_threads(kernels, 1)
    }

    /// An empty backend of so many threads, the calling one among them; of fewer where they are not to be had.
    /// Every number has the same bits with any number of threads.
    pub fn with_threads(kernels: Kernels, threads: usize) -> Self {
        Self::with_pool(kernels, Pool::new(threads, LEAST_WORK))
    }

    /// The same, but the threads share all work, however small; for tests.
    pub fn sharing_all(kernels: Kernels, threads: usize) -> Self {
        Self::with_pool(kernels, Pool::new(threads, 1))
    }

    fn with_pool(kernels: Kernels, pool: Pool) -> Self {
        Self { kernels, tensors: Tensors::default(), data: Vec::new(), max_bytes: None, pool }
    }

    /// An empty backend that takes so many bytes and no more, whatever the machine has; for tests.
    pub fn with_max_bytes(kernels: Kernels, max_bytes: u64) -> Self {
        let mut cpu = Self::new(kernels);
        cpu.max_bytes = Some(max_bytes);
        cpu
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.pool.threads()
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

    /// Runs one op on `n` rows. Outputs are taken out of the store while it runs, so that they
    /// can be borrowed beside the inputs.
    fn step(&mut self, op: &Op, n: usize) {
        let writes = op.writes();
        let mut outputs: Vec<Vec<u32>> =
            writes.iter().map(|id| std::mem::take(&mut self.data[id.index()])).collect();
        let Self { tensors, data, kernels, pool, .. } = self;
        op.run(&Call { tensors, data, n, kernels: *kernels, pool }, &mut outputs);
        for (id, data) in writes.into_iter().zip(outputs) {
            self.data[id.index()] = data;
        }
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.hold(Tensors::default());
    }
}
