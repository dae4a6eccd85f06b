//! Opening a device: which limits are asked for, and what of them is used.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{Mix, Tensors};

use super::fault::Faults;
use super::instance::instance;
use super::kernels::Kernel;
use super::pace::Pace;
use super::{Counts, Gpu, GpuOptions, STAGING, Shared};

/// What a storage buffer's size is a multiple of: shaders may view any tensor as vec4.
const VEC4_BYTES: u64 = 16;

impl Gpu {
    /// Opens the system's default adapter.
    ///
    /// Errors with `Unsupported` where there is none, `Device` if it refuses.
    pub async fn open(options: &GpuOptions) -> Result<Self> {
        let adapter = request_adapter().await?;
        let info = adapter.get_info();
        let own = (!options.default_limits).then(|| adapter.limits());
        let features = if options.timestamps {
            adapter.features() & wgpu::Features::TIMESTAMP_QUERY
        } else {
            wgpu::Features::empty()
        };
        // An adapter that gave a device, or refused one, is not asked again.
        let mut asked = Some(adapter);
        let ((device, queue), limits) = first_granted(own, async |limits| {
            let adapter = match asked.take() {
                Some(adapter) => adapter,
                None => request_adapter().await?,
            };
            let device = adapter.request_device(&wgpu::DeviceDescriptor {
                label: Some("lorakeet"),
                required_features: features,
                required_limits: limits,
                ..Default::default()
            });
            device.await.map_err(|e| Error::device(format!("WebGPU device: {e}")))
        })
        .await?;
        let software = options.software.unwrap_or(info.device_type == wgpu::DeviceType::Cpu);
        let shared = Rc::new(Shared {
            device,
            queue,
            adapter: [info.name, info.driver].join(" ").trim().to_owned(),
            pipelines: RefCell::default(),
            faults: Faults::default(),
        });
        watch(&shared.device, &shared.faults);
        let offered = usable_bytes(&limits);
        let max_tensor_bytes =
            options.max_tensor_bytes.map_or(offered, |most| rounded_down(most).min(offered));
        // A software adapter pays per invocation; a GPU wants coalesced loads.
        let lanes = if software { 1 } else { 16 };
        let mut gpu = Self::on(shared, max_tensor_bytes, lanes, options.source.unwrap_or(Kernel::source));
        gpu.max_bytes = options.max_bytes;
        gpu.pace = Pace::new(options.clock, options.least_speed);
        Ok(gpu)
    }

    /// Another one on the same device, opened with the same options but for caps and clock, which it has none of:
    /// with tensors of its own, it shares the pipelines and the device's faults.
    pub fn beside(&self) -> Self {
        Self::on(Rc::clone(&self.shared), self.max_tensor_bytes, self.lanes, self.source)
    }

    fn on(shared: Rc<Shared>, max_tensor_bytes: u64, lanes: u32, source: fn(&Kernel) -> String) -> Self {
        let fault = shared.faults.one_more();
        let buffer = |label, size, usage| {
            shared.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            // As large as the largest element a shader declares, a `Mix`.
            nothing: [(); 2]
                .map(|()| buffer("nothing", size_of::<Mix>() as u64, wgpu::BufferUsages::STORAGE)),
            scratch: Vec::new(),
            // One is read while another is on its way.
            staging: vec![buffer("staging", 4096, STAGING), buffer("staging", 4096, STAGING)],
            shared,
            max_tensor_bytes,
            max_bytes: None,
            lanes,
            tensors: Tensors::default(),
            places: Vec::new(),
            reserved: Vec::new(),
            source,
            verdicts: Default::default(),
            fault,
            pace: Pace::new(None, None),
            commands: None,
            counts: Counts { buffers: 4, ..Counts::default() },
        }
    }
}

async fn request_adapter() -> Result<wgpu::Adapter> {
    let preference = wgpu::PowerPreference::HighPerformance;
    let options = wgpu::RequestAdapterOptions { power_preference: preference, ..Default::default() };
    let adapter = instance().request_adapter(&options).await;
    adapter.map_err(|e| Error::unsupported(format!("no WebGPU adapter: {e}")))
}

/// What `ask` gives for the adapter's own limits or, where it refuses those, for the specification's
/// default ones; and which they were.
///
/// Errors as `ask` did last.
async fn first_granted<T>(
    own: Option<wgpu::Limits>,
    mut ask: impl AsyncFnMut(wgpu::Limits) -> Result<T>,
) -> Result<(T, wgpu::Limits)> {
    if let Some(own) = own
        && let Ok(device) = ask(own.clone()).await
    {
        return Ok((device, own));
    }
    let default = wgpu::Limits::default();
    Ok((ask(default.clone()).await?, default))
}

/// The most bytes of a tensor under these limits.
fn usable_bytes(limits: &wgpu::Limits) -> u64 {
    rounded_down(limits.max_storage_buffer_binding_size.min(limits.max_buffer_size))
}

fn rounded_down(bytes: u64) -> u64 {
    bytes / VEC4_BYTES * VEC4_BYTES
}

/// Notes errors that no call returns: validation, memory, loss of the device.
fn watch(device: &wgpu::Device, faults: &Faults) {
    let noted = faults.clone();
    device.on_uncaptured_error(Arc::new(move |error| {
        noted.set(&match error {
            wgpu::Error::OutOfMemory { .. } => Error::memory("WebGPU device: out of memory"),
            other => Error::device(format!("WebGPU device: {other}")),
        });
    }));
    let noted = faults.clone();
    device.set_device_lost_callback(move |_, message| {
        noted.set(&Error::device(format!("WebGPU device lost: {message}")));
    });
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_down_to_what_can_be_bound() {
        let usable = |binding, buffer| {
            usable_bytes(&wgpu::Limits {
                max_storage_buffer_binding_size: binding,
                max_buffer_size: buffer,
                ..wgpu::Limits::default()
            })
        };
        // Chrome's.
        assert_eq!(usable(2_147_483_644, 4_294_967_292), 2_147_483_632);
        assert_eq!(usable(1 << 30, (1 << 28) + 15), 1 << 28);
        assert_eq!(usable(1 << 27, 1 << 28), 1 << 27);
    }

    #[pollster::test]
    async fn default_limits_are_asked_for_where_an_adapters_own_are_refused() {
        let own = wgpu::Limits { max_buffer_size: 1 << 40, ..wgpu::Limits::default() };
        let limits = |most: u64| {
            let own = own.clone();
            async move {
                let mut asked = Vec::new();
                let granted = first_granted(Some(own), async |limits: wgpu::Limits| {
                    asked.push(limits.max_buffer_size);
                    if limits.max_buffer_size > most { Err(Error::device("refused")) } else { Ok(7) }
                });
                let granted = granted.await.map(|(device, limits)| (device, limits.max_buffer_size));
                (granted, asked)
            }
        };
        let default = wgpu::Limits::default().max_buffer_size;
        assert_eq!(limits(u64::MAX).await, (Ok((7, 1 << 40)), vec![1 << 40]));
        assert_eq!(limits(default).await, (Ok((7, default)), vec![1 << 40, default]));
        assert_eq!(limits(1).await, (Err(Error::device("refused")), vec![1 << 40, default]));
    }
}
