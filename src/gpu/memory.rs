//! Buffers of tensors, all of them or none: a device that is out of memory answers, and stays as it was.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::plan::{TensorId, Tensors};

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

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) buffer: wgpu::Buffer,
    /// In bytes.
    pub(super) offset: u64,
    size: u64,
    /// The first tensor in that buffer.
    first: usize,
}

impl Place {
    /// It alone, to be bound.
    pub(super) fn alone(&self) -> wgpu::BindingResource<'_> {
        let size = std::num::NonZeroU64::new(self.size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer, offset: self.offset, size })
    }

    /// Fills it with zeros.
    pub(super) fn clear(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.clear_buffer(&self.buffer, self.offset, Some(self.size));
    }
}

/// A buffer to be made.
#[derive(Debug)]
pub(super) struct Missing {
    name: String,
    /// Index, offset and bytes of each tensor in it.
    places: Vec<(usize, u64, u64)>,
    size: u64,
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
        missing.retain(|wanted| {
            let fits = |(made, _): &(Missing, wgpu::Buffer)| made.places == wanted.places;
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
        // Commands may name the buffers that are replaced.
        self.submit();
        let mut places: Vec<Option<Place>> = self.places.drain(..).map(Some).collect();
        places.resize(tensors.iter().count(), None);
        for (Missing { places: made, .. }, buffer) in fresh {
            let first = made[0].0;
            for (index, offset, size) in made {
                let place = Place { buffer: buffer.clone(), offset, size, first };
                if let Some(held) = places[index].replace(place) {
                    held.buffer.destroy();
                }
            }
        }
        self.places = places.into_iter().map(|place| place.expect("what was not there was made")).collect();
        self.tensors = tensors.clone();
        self.check()
    }

    /// The buffers that are not there as they are wanted.
    ///
    /// Errors with `Memory` if one is larger than a binding may be.
    fn missing(&self, tensors: &Tensors) -> Result<Vec<Missing>> {
        let mut missing = Vec::new();
        for shared in tensors.buffers() {
            let place = |&(id, word): &(TensorId, usize)| {
                // Shaders may view any tensor as vec4.
                let size = tensors.get(id).bytes().next_multiple_of(16).max(16);
                (id.index(), 4 * word as u64, size)
            };
            let places: Vec<_> = shared.iter().map(place).collect();
            let ((first, ..), (last, offset, size)) = (places[0], places[places.len() - 1]);
            let size = offset + size;
            let is_there = |&(index, offset, bytes): &(usize, u64, u64)| {
                let held = self.places.get(index);
                held.is_some_and(|held| {
                    (held.first, held.offset, held.size) == (first, offset, bytes)
                        && held.buffer.size() == size
                })
            };
            if places.iter().all(is_there) {
                continue;
            }
            let name = tensors.get(shared[0].0).name.clone();
            if size > self.max_tensor_bytes {
                let more =
                    if last == first { String::new() } else { format!(" and {} more", places.len() - 1) };
                return Err(Error::memory(format!(
                    "tensor `{name}`{more}: {size} bytes, the device binds at most {}",
                    self.max_tensor_bytes
                )));
            }
            missing.push(Missing { name, places, size });
        }
        Ok(missing)
    }

    fn make(&mut self, missing: Vec<Missing>) -> Vec<(Missing, wgpu::Buffer)> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let make = |wanted: Missing| {
            let buffer = self.create(&wanted.name, wanted.size, usage);
            (wanted, buffer)
        };
        missing.into_iter().map(make).collect()
    }

    /// Errors as a device does that has no more than [`GpuOptions::max_bytes`](super::GpuOptions).
    fn check_cap(&self, tensors: &Tensors) -> Result<()> {
        match self.max_bytes {
            Some(most) if tensors.total_bytes() > most => Err(out_of_memory()),
            _ => Ok(()),
        }
    }

    /// Takes a buffer that `bytes` of results can be mapped in, one that is free or a new one.
    ///
    /// Errors with `Memory`; what there was is still there.
    pub(super) async fn take_staging(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        if let Some(free) = self.staging.iter().position(|staging| staging.size() >= bytes) {
            return Ok(self.staging.swap_remove(free));
        }
        let scopes = Scopes::push(&self.shared.device);
        let larger = self.create("staging", bytes.next_power_of_two(), STAGING);
        if let Err(e) = scopes.popped().await {
            larger.destroy();
            return Err(e);
        }
        if let Some(smaller) = self.staging.pop() {
            smaller.destroy();
        }
        Ok(larger)
    }
}

fn discard(buffers: &mut Vec<(Missing, wgpu::Buffer)>) {
    buffers.drain(..).for_each(|(_, buffer)| buffer.destroy());
}
