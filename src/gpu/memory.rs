//! Buffers of tensors, all of them or none: a device that is out of memory answers, and stays as it was.

use crate::order::sort_by_key;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::plan::Tensors;

use super::{Gpu, STAGING};

/// Errors of what is made while they are open, in the place of the device's own.
pub(super) struct Scopes {
    validation: wgpu::ErrorScopeGuard,
    memory: wgpu::ErrorScopeGuard,
}

impl Scopes {
    /// Scopes whose [`popped`](Self::popped) is to be waited for.
    fn push(device: &wgpu::Device) -> Self {
        let [validation, memory] = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory]
            .map(|filter| device.push_error_scope(filter));
        Self { validation, memory }
    }

    /// Scopes that tell at once what they saw; none in a browser, which tells later.
    pub(super) fn told_at_once(device: &wgpu::Device) -> Option<Self> {
        (!cfg!(target_arch = "wasm32")).then(|| Self::push(device))
    }

    /// Errors with `Memory` if anything could not be made.
    async fn popped(self) -> Result<()> {
        let Self { validation, memory } = self;
        let (memory, validation) = (memory.pop(), validation.pop());
        match (memory.await, validation.await) {
            (Some(_), _) => Err(out_of_memory()),
            (None, Some(error)) => Err(Error::memory(format!("WebGPU device: {error}"))),
            (None, None) => Ok(()),
        }
    }

    /// The same of scopes that tell [at once](Self::told_at_once).
    pub(super) fn ready(self) -> Result<()> {
        match pin!(self.popped()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("outside of browsers errors are known at once"),
        }
    }
}

fn out_of_memory() -> Error {
    Error::memory("WebGPU device: out of memory")
}

impl Gpu {
    /// Makes the buffers that [`allocate`](Self::allocate) would make for these tensors ahead of it,
    /// and waits until the device has said whether it has them. Nothing else is changed.
    ///
    /// Errors with `Memory` if it has not, or if a tensor is larger than a binding may be.
    pub(crate) async fn reserve(&mut self, tensors: &Tensors) -> Result<()> {
        if self.is_lost() {
            return Ok(());
        }
        discard(&mut self.reserved);
        let missing = self.missing(tensors)?;
        let scopes = Scopes::push(&self.shared.device);
        self.reserved = self.make(missing);
        // What is made now is destroyed below, or whenever it is next asked for.
        let result = scopes.popped().await.and_then(|()| self.check_cap(tensors));
        if result.is_err() {
            discard(&mut self.reserved);
        }
        result?;
        self.check()
    }

    /// Gives a buffer, zeroed, to every tensor declared or reshaped since the last call. On an error
    /// everything is as it was. A browser tells here of nothing but what a tensor may be: only what
    /// [`reserve`](Self::reserve) has made is sure to be there.
    ///
    /// Errors as that does.
    pub fn allocate(&mut self, tensors: &Tensors) -> Result<()> {
        if self.is_lost() {
            return Ok(());
        }
        let mut fresh = Vec::new();
        let mut missing = self.missing(tensors)?;
        missing.retain(|(index, _, size)| {
            let fits = |(at, buffer): &(usize, wgpu::Buffer)| at == index && buffer.size() == *size;
            let reserved = self.reserved.iter().position(fits);
            fresh.extend(reserved.map(|at| self.reserved.swap_remove(at)));
            reserved.is_none()
        });
        discard(&mut self.reserved);
        let scopes = Scopes::told_at_once(&self.shared.device);
        fresh.extend(self.make(missing));
        let result = scopes.map_or(Ok(()), Scopes::ready).and_then(|()| self.check_cap(tensors));
        if result.is_err() {
            discard(&mut fresh);
        }
        result?;
        sort_by_key(&mut fresh, |(index, _)| *index);
        for (index, buffer) in fresh {
            match self.buffers.get_mut(index) {
                Some(held) => std::mem::replace(held, buffer).destroy(),
                None => self.buffers.push(buffer),
            }
        }
        self.tensors = tensors.clone();
        self.check()
    }

    /// Index, name and bytes of what has no buffer of its size.
    ///
    /// Errors with `Memory` if one is larger than a binding may be.
    fn missing(&self, tensors: &Tensors) -> Result<Vec<(usize, String, u64)>> {
        let mut missing = Vec::new();
        for (id, tensor) in tensors.iter() {
            // Shaders may view any tensor as vec4.
            let size = tensor.bytes().next_multiple_of(16).max(16);
            if self.buffers.get(id.index()).is_some_and(|buffer| buffer.size() == size) {
                continue;
            }
            if size > self.max_tensor_bytes {
                return Err(Error::memory(format!(
                    "tensor `{}`: {size} bytes, the device binds at most {}",
                    tensor.name, self.max_tensor_bytes
                )));
            }
            missing.push((id.index(), tensor.name.clone(), size));
        }
        Ok(missing)
    }

    fn make(&mut self, missing: Vec<(usize, String, u64)>) -> Vec<(usize, wgpu::Buffer)> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        missing.into_iter().map(|(index, name, size)| (index, self.create(&name, size, usage))).collect()
    }

    /// Errors as a device does that has no more than [`GpuOptions::max_bytes`](super::GpuOptions).
    fn check_cap(&self, tensors: &Tensors) -> Result<()> {
        match self.max_bytes {
            Some(most) if tensors.total_bytes() > most => Err(out_of_memory()),
            _ => Ok(()),
        }
    }

    /// Makes what results are mapped in large enough for `bytes`.
    ///
    /// Errors with `Memory`; what there was is still there.
    pub(super) async fn grow_staging(&mut self, bytes: u64) -> Result<()> {
        if self.staging.size() >= bytes {
            return Ok(());
        }
        let scopes = Scopes::push(&self.shared.device);
        let larger = self.create("staging", bytes.next_power_of_two(), STAGING);
        if let Err(e) = scopes.popped().await {
            larger.destroy();
            return Err(e);
        }
        std::mem::replace(&mut self.staging, larger).destroy();
        Ok(())
    }
}

fn discard(buffers: &mut Vec<(usize, wgpu::Buffer)>) {
    buffers.drain(..).for_each(|(_, buffer)| buffer.destroy());
}
