//! The WebGPU backend: buffers, pipelines and recorded dispatch lists on one device.
//! It decides no shapes; plans arrive checked.

pub mod dispatch;
pub mod dispatch_grad;
mod fault;
mod instance;
pub mod kernels;
mod read;

use std::collections::HashMap;
use std::sync::Arc;

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::{Dtype, Mix, Plan, TensorId, Tensors};

use dispatch::{Dispatch, dispatch};
use fault::Fault;
use instance::instance;
use kernels::Kernel;

/// Uploads are handed to the queue in portions, so that staging memory stays below twice this.
const UPLOAD_PORTION_BYTES: usize = 16 << 20;

/// What was made and sent since the device was opened. Replaying a plan may only add submits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Buffers created.
    pub buffers: usize,
    /// Bind groups created.
    pub bind_groups: usize,
    /// Pipelines created.
    pub pipelines: usize,
    /// Command buffers submitted by `run`.
    pub submits: usize,
    /// Results waited for by `read`.
    pub reads: usize,
    /// Bytes written by the host.
    pub uploaded_bytes: u64,
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Ask for no more than the specification's default limits, as the weakest browser grants.
    pub default_limits: bool,
    /// Whether to run the variants for adapters that compute on the CPU, where the caller knows:
    /// a browser does not always tell. `None` goes by what the adapter says of itself.
    pub software: Option<bool>,
    /// Cap on the bytes of one tensor, below what the device allows; for tests of sharding.
    pub max_tensor_bytes: Option<u64>,
    /// What to compile in place of a kernel's own source; for tests.
    pub source: Option<fn(&Kernel) -> String>,
}

/// A WebGPU device (in a browser) or its native equivalent.
///
/// One that is lost takes everything and computes nothing; only [`read`](Self::read) and
/// [`check`](Self::check) tell. So what the host knows is whole whenever the loss comes.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: String,
    max_tensor_bytes: u64,
    /// Invocations per dot product, 1 on software adapters.
    lanes: u32,
    tensors: Tensors,
    buffers: Vec<wgpu::Buffer>,
    /// Bound in place of absent optional inputs, and of an absent output: no buffer may be both.
    nothing: [wgpu::Buffer; 2],
    /// Where results are mapped; grown when a larger read is asked for.
    staging: wgpu::Buffer,
    pipelines: HashMap<(&'static str, Dtype), wgpu::ComputePipeline>,
    source: fn(&Kernel) -> String,
    fault: Arc<Fault>,
    counts: Counts,
}

/// A plan as a list of launches whose objects all exist.
#[derive(Debug)]
pub struct Recording {
    launches: Vec<(wgpu::ComputePipeline, wgpu::BindGroup, [u32; 3])>,
}

impl Gpu {
    /// Opens the system's default adapter.
    ///
    /// Errors with `Unsupported` where there is none, `Device` if it refuses.
    pub async fn open(options: &GpuOptions) -> Result<Self> {
        let adapter = instance()
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|e| Error::unsupported(format!("no WebGPU adapter: {e}")))?;
        let info = adapter.get_info();
        let limits = if options.default_limits { wgpu::Limits::default() } else { adapter.limits() };
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("lorakeet"),
                required_limits: limits.clone(),
                ..Default::default()
            })
            .await
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        let fault = Arc::new(Fault::default());
        watch(&device, &fault);
        let offered = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Ok(Self {
            // As large as the largest element a shader declares, a `Mix`.
            nothing: [(); 2]
                .map(|()| buffer("nothing", size_of::<Mix>() as u64, wgpu::BufferUsages::STORAGE)),
            staging: buffer("staging", 4096, STAGING),
            queue,
            adapter: [info.name, info.driver].join(" ").trim().to_owned(),
            max_tensor_bytes: options.max_tensor_bytes.unwrap_or(offered).min(offered),
            // A software adapter pays per invocation; a GPU wants coalesced loads.
            lanes: if options.software.unwrap_or(info.device_type == wgpu::DeviceType::Cpu) { 1 } else { 16 },
            tensors: Tensors::default(),
            buffers: Vec::new(),
            pipelines: HashMap::new(),
            source: options.source.unwrap_or(Kernel::source),
            fault,
            counts: Counts { buffers: 3, ..Counts::default() },
            device,
        })
    }

    /// What the adapter calls itself.
    pub fn adapter(&self) -> &str {
        &self.adapter
    }

    /// What was made and sent so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The most bytes one tensor may have.
    pub fn max_tensor_bytes(&self) -> u64 {
        self.max_tensor_bytes
    }

    /// Creates a buffer, zeroed, for every tensor declared or reshaped since the last call.
    ///
    /// Errors with `Memory` if a tensor is larger than a binding may be.
    pub fn allocate(&mut self, tensors: &Tensors) -> Result<()> {
        if self.is_lost() {
            return Ok(());
        }
        for (id, tensor) in tensors.iter() {
            // Shaders may view any tensor as vec4.
            let size = (4 * tensor.words() as u64).next_multiple_of(16).max(16);
            if self.buffers.get(id.index()).is_some_and(|buffer| buffer.size() == size) {
                continue;
            }
            if size > self.max_tensor_bytes.next_multiple_of(16) {
                return Err(Error::memory(format!(
                    "tensor `{}`: {size} bytes, the device binds at most {}",
                    tensor.name, self.max_tensor_bytes
                )));
            }
            let usage =
                wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
            let buffer = self.create(&tensor.name, size, usage);
            match self.buffers.get_mut(id.index()) {
                Some(held) => std::mem::replace(held, buffer).destroy(),
                None => self.buffers.push(buffer),
            }
        }
        self.tensors = tensors.clone();
        self.check()
    }

    /// Writes words from word `offset` of a tensor on.
    pub fn upload(&mut self, id: TensorId, offset: usize, words: &[u32]) {
        if self.is_lost() {
            return;
        }
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let buffer = &self.buffers[id.index()];
        for (i, portion) in bytes.chunks(UPLOAD_PORTION_BYTES).enumerate() {
            let at = 4 * offset + i * UPLOAD_PORTION_BYTES;
            self.queue.write_buffer(buffer, at as u64, portion);
            if portion.len() == UPLOAD_PORTION_BYTES {
                self.queue.submit([]); // lets the queue release its staging memory
            }
        }
        self.counts.uploaded_bytes += bytes.len() as u64;
    }

    /// Fills a tensor with zeros.
    pub fn clear(&mut self, id: TensorId) {
        if self.is_lost() {
            return;
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.buffers[id.index()], 0, None);
        self.queue.submit([encoder.finish()]);
    }

    /// Makes every pipeline, bind group and parameter that running `plan` needs.
    pub fn record(&mut self, plan: &Plan) -> Result<Recording> {
        if self.is_lost() {
            return Ok(Recording { launches: Vec::new() });
        }
        let launches: Vec<Dispatch> =
            plan.steps().iter().map(|op| dispatch(op, &self.tensors, plan.n(), self.lanes)).collect();
        let alignment = u64::from(self.device.limits().min_uniform_buffer_offset_alignment);
        let largest = launches.iter().map(|launch| launch.params.len() as u64).max().unwrap_or(0);
        let stride = largest.next_multiple_of(alignment);
        let mut bytes = vec![0; launches.len() * stride as usize];
        for (slot, launch) in bytes.chunks_exact_mut(stride as usize).zip(&launches) {
            slot[..launch.params.len()].copy_from_slice(&launch.params);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = self.create("params", bytes.len() as u64, usage);
        self.queue.write_buffer(&params, 0, &bytes);
        let launches = launches.into_iter().enumerate().map(|(i, launch)| {
            let pipeline = self.pipeline(&launch.kernel);
            let group = self.bind(&pipeline, &launch, &params, i as u64 * stride);
            (pipeline, group, launch.workgroups)
        });
        let recording = Recording { launches: launches.collect() };
        self.check()?;
        Ok(recording)
    }

    /// Submits the recording `times` times over, as one command buffer.
    pub fn run(&mut self, recording: &Recording, times: usize) {
        if self.is_lost() {
            return;
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..times {
                for (pipeline, group, [x, y, z]) in &recording.launches {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(*x, *y, *z);
                }
            }
        }
        self.queue.submit([encoder.finish()]);
        self.counts.submits += 1;
    }

    /// Errors with the first error reported since the device was opened, if any.
    pub fn check(&self) -> Result<()> {
        self.fault.check()
    }

    /// Whether the device is of no more use.
    pub fn is_lost(&self) -> bool {
        self.check().is_err()
    }

    /// Brings the reason when the device is lost; cancelled if it is closed instead.
    pub fn lost(&self) -> oneshot::Receiver<Error> {
        self.fault.wait()
    }

    /// Gives the device up, and frees every buffer now instead of whenever JavaScript collects its
    /// garbage. It then counts as lost.
    pub fn release(&mut self) {
        self.fault.set(Error::device("WebGPU device: given up"));
        self.buffers.drain(..).for_each(|buffer| buffer.destroy());
        self.staging.destroy();
        self.device.destroy();
    }

    fn create(&mut self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.counts.buffers += 1;
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    fn pipeline(&mut self, kernel: &Kernel) -> wgpu::ComputePipeline {
        if let Some(pipeline) = self.pipelines.get(&(kernel.name, kernel.dtype)) {
            return pipeline.clone();
        }
        let source = (self.source)(kernel);
        let used = if source.contains("override LANES") { 2 } else { 1 };
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let size = ("WORKGROUP_SIZE", f64::from(kernel.workgroup_size));
        let lanes = ("LANES", f64::from(self.lanes));
        let constants = [size, lanes];
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: None,
            module: &module,
            entry_point: Some(kernel.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants[..used],
                ..Default::default()
            },
            cache: None,
        });
        self.counts.pipelines += 1;
        self.pipelines.insert((kernel.name, kernel.dtype), pipeline.clone());
        pipeline
    }

    fn bind(
        &mut self,
        pipeline: &wgpu::ComputePipeline,
        launch: &Dispatch,
        params: &wgpu::Buffer,
        offset: u64,
    ) -> wgpu::BindGroup {
        let size = std::num::NonZeroU64::new(launch.params.len() as u64);
        let params = wgpu::BufferBinding { buffer: params, offset, size };
        let tensors = launch.bindings.iter().enumerate().map(|(i, id)| match id {
            Some(id) => self.buffers[id.index()].as_entire_binding(),
            // An output that may be absent comes last.
            None => self.nothing[usize::from(i + 1 == launch.bindings.len())].as_entire_binding(),
        });
        let entries: Vec<_> = std::iter::once(wgpu::BindingResource::Buffer(params))
            .chain(tensors)
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        self.counts.bind_groups += 1;
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(launch.kernel.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.fault.release();
        self.release();
    }
}

const STAGING: wgpu::BufferUsages = wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

/// Notes errors that no call returns: validation, memory, loss of the device.
fn watch(device: &wgpu::Device, fault: &Arc<Fault>) {
    let noted = Arc::clone(fault);
    device.on_uncaptured_error(Arc::new(move |error| {
        noted.set(match error {
            wgpu::Error::OutOfMemory { .. } => Error::memory("WebGPU device: out of memory"),
            other => Error::device(format!("WebGPU device: {other}")),
        });
    }));
    let noted = Arc::clone(fault);
    device.set_device_lost_callback(move |_, message| {
        noted.set(Error::device(format!("WebGPU device lost: {message}")));
    });
}
