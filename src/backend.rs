//! How to compute: one interface over the CPU and WebGPU.
//! It knows tensors and plans, no architecture.

pub use crate::gpu;

/// The backend in main memory, and the plain versions of the ops.
pub mod cpu {
    pub use lorakeet_kernels::cpu::*;
    pub use lorakeet_kernels::pool::MAX_THREADS;
    #[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
    pub(crate) use lorakeet_kernels::pool::{enlist, failure, serve};
    pub use lorakeet_kernels::twin::*;
}

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::{MAX_TENSOR_BYTES, Plan, TensorId, Tensors};

/// A place where plans run. Data goes in and out as 32-bit words.
#[derive(Debug)]
pub enum Backend {
    /// Main memory.
    Cpu(cpu::Cpu),
    /// A WebGPU device, or its native equivalent.
    Gpu(Box<gpu::Gpu>),
}

/// A plan made ready for one backend, to be replayed any number of times.
#[derive(Debug)]
pub enum Prepared {
    /// The plan itself.
    Cpu(Plan),
    /// Its recorded dispatches.
    Gpu(gpu::Recording),
}

/// Words on their way from a backend.
#[derive(Debug)]
pub(crate) enum Reading {
    /// They are here.
    Read(Vec<Vec<u32>>),
    /// They are with a device.
    Gpu(gpu::Reading),
}

impl Backend {
    /// `cpu` or `webgpu`, the words of the `device` option.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Gpu(_) => "webgpu",
        }
    }

    /// How many threads of the CPU compute; 1 on a GPU.
    pub fn threads(&self) -> usize {
        match self {
            Self::Cpu(cpu) => cpu.threads(),
            Self::Gpu(_) => 1,
        }
    }

    /// The most bytes one tensor may have; larger ones are declared as several.
    pub(crate) fn max_tensor_bytes(&self) -> u64 {
        match self {
            Self::Cpu(_) => MAX_TENSOR_BYTES,
            Self::Gpu(gpu) => gpu.max_tensor_bytes(),
        }
    }

    /// The most bytes all tensors together may have, as far as that is known.
    pub(crate) fn max_bytes(&self) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.max_bytes().unwrap_or(u64::MAX),
            // A device does not tell before it is asked for it.
            Self::Gpu(_) => u64::MAX,
        }
    }

    /// Makes ahead what [`allocate`](Self::allocate) needs for these tensors, where only waiting tells
    /// whether a device has so much. Nothing else is changed.
    ///
    /// Errors with `Memory` if it has not.
    pub(crate) async fn reserve(&mut self, tensors: &Tensors) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => gpu.reserve(tensors).await,
        }
    }

    /// Makes room, zeroed, for every tensor declared or reshaped since the last call. On an error
    /// everything is as it was.
    ///
    /// Errors with `Memory` if there is none.
    pub fn allocate(&mut self, tensors: &Tensors) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.allocate(tensors),
            Self::Gpu(gpu) => gpu.allocate(tensors),
        }
    }

    /// Writes words from word `offset` of a tensor on.
    pub fn upload(&mut self, id: TensorId, offset: usize, words: &[u32]) {
        match self {
            Self::Cpu(cpu) => cpu.upload(id, offset, words),
            Self::Gpu(gpu) => gpu.upload(id, offset, words),
        }
    }

    /// Fills a tensor with zeros.
    pub fn clear(&mut self, id: TensorId) {
        match self {
            Self::Cpu(cpu) => cpu.clear(id),
            Self::Gpu(gpu) => gpu.clear(id),
        }
    }

    /// Makes a plan ready to run. All objects that running it needs are made here.
    pub fn prepare(&mut self, plan: &Plan) -> Result<Prepared> {
        Ok(match self {
            Self::Cpu(_) => Prepared::Cpu(plan.clone()),
            Self::Gpu(gpu) => Prepared::Gpu(gpu.record(plan)?),
        })
    }

    /// Runs a plan `times` times, in one submission on a GPU.
    pub fn run(&mut self, prepared: &Prepared, times: usize) {
        match (self, prepared) {
            (Self::Cpu(cpu), Prepared::Cpu(plan)) => cpu.run(plan, times),
            (Self::Gpu(gpu), Prepared::Gpu(recording)) => gpu.run(recording, times),
            _ => unreachable!("a plan runs on the backend that prepared it"),
        }
    }

    /// The words `offset..offset + len` of a tensor, after everything submitted so far.
    ///
    /// Errors with `Device` if the device is lost or an earlier submission failed.
    pub async fn read(&mut self, id: TensorId, offset: usize, len: usize) -> Result<Vec<u32>> {
        Ok(self.read_all(&[(id, offset, len)]).await?.swap_remove(0))
    }

    /// The same of several tensors, waited for together.
    ///
    /// Errors as [`read`](Self::read) does.
    pub(crate) async fn read_all(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Vec<Vec<u32>>> {
        match self {
            Self::Cpu(cpu) => Ok(parts.iter().map(|&(id, offset, len)| cpu.read(id, offset, len)).collect()),
            Self::Gpu(gpu) => gpu.read(parts).await,
        }
    }

    /// Begins to read words of some tensors: what runs from now on does not change them.
    ///
    /// Errors as [`read`](Self::read) does.
    pub(crate) async fn begin_read(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Reading> {
        match self {
            Self::Cpu(_) => Ok(Reading::Read(self.read_all(parts).await?)),
            Self::Gpu(gpu) => Ok(Reading::Gpu(gpu.begin_read(parts).await?)),
        }
    }

    /// Waits for them. Tells how long, ms, a device took since it had done all before.
    ///
    /// Errors as [`read`](Self::read) does.
    pub(crate) async fn finish_read(&mut self, reading: Reading) -> Result<(Vec<Vec<u32>>, f64)> {
        match (self, reading) {
            (_, Reading::Read(words)) => Ok((words, 0.0)),
            (Self::Gpu(gpu), Reading::Gpu(reading)) => gpu.finish_read(reading).await,
            _ => unreachable!("it is read on the backend that began it"),
        }
    }

    /// Errors with `Device`, or `Memory`, if the device is lost or has failed. A lost device takes
    /// everything and computes nothing; only this and reading tell.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => gpu.check(),
        }
    }

    /// Tries the kernels of these plans that were not tried before, each on a few numbers whose answer
    /// is known, and begins to compile the others. Main memory has none.
    ///
    /// Errors with `Device`, naming a kernel that is wrong; or if the device is lost.
    pub(crate) async fn check_kernels(&mut self, plans: &[Plan]) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => gpu.check_kernels(plans).await,
        }
    }

    /// What is known of a device's kernels, by their names: whether they are right.
    pub(crate) fn verdicts(&self) -> gpu::known_answer::Verdicts {
        match self {
            Self::Cpu(_) => Default::default(),
            Self::Gpu(gpu) => gpu.verdicts().clone(),
        }
    }

    /// Takes over what was known of this device before.
    pub(crate) fn trust(&mut self, known: gpu::known_answer::Verdicts) {
        if let Self::Gpu(gpu) = self {
            gpu.trust(known);
        }
    }

    /// Brings what [`check`](Self::check) would error with when it comes; cancelled if it never does.
    pub(crate) fn lost(&self) -> oneshot::Receiver<Error> {
        match self {
            Self::Cpu(_) => oneshot::channel().1,
            Self::Gpu(gpu) => gpu.lost(),
        }
    }

    /// Frees a device's memory now; it then counts as lost. Main memory stays.
    pub(crate) fn release(&mut self) {
        if let Self::Gpu(gpu) = self {
            gpu.release();
        }
    }
}
