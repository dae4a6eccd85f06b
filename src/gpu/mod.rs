//! The WebGPU backend: buffers, pipelines and recorded dispatch lists on one device.
//! It decides no shapes; plans arrive checked.

pub mod case;
mod fault;
pub mod fuse;
mod instance;
pub mod kernels;
pub mod known_answer;
mod known_cases;
mod known_table;
pub(crate) mod launch;
pub(crate) mod measure;
mod memory;
mod open;
pub mod ops;
mod pace;
mod queue;
mod read;

pub(crate) use read::Reading;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::{Dtype, Plan, TensorId, Tensors};

use fault::{Fault, Faults};
use kernels::Kernel;
use launch::{Binding, Dispatch};
use memory::{Missing, Place, Scopes};
use pace::Pace;
use queue::Commands;

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
    /// Command buffers submitted.
    pub submits: usize,
    /// Launches in them.
    pub dispatches: usize,
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
    /// Ask for the device's own clock, which measuring alone needs, where it may be read.
    pub timestamps: bool,
    /// Whether to run the variants for adapters that compute on the CPU, where the caller knows:
    /// a browser does not always tell. `None` goes by what the adapter says of itself.
    pub software: Option<bool>,
    /// Cap on the bytes of one tensor, below what the device allows; for tests of sharding.
    pub max_tensor_bytes: Option<u64>,
    /// What to compile in place of a kernel's own source; for tests.
    pub source: Option<fn(&Kernel) -> String>,
    /// Cap on the bytes of all tensors, past which the device is out of memory; for tests of that.
    pub max_bytes: Option<u64>,
    /// Tells the time, ms, in place of the system's clock; for tests of how work is parted.
    pub clock: Option<fn() -> f64>,
    /// Multiplications that the slowest device makes in a ms, as every one is taken to be until it is
    /// measured; for tests with small models.
    pub least_speed: Option<f64>,
}

/// A WebGPU device (in a browser) or its native equivalent.
///
/// One that is lost takes everything and computes nothing; only [`read`](Self::read) and
/// [`check`](Self::check) tell. So what the host knows is whole whenever the loss comes.
#[derive(Debug)]
pub struct Gpu {
    shared: Rc<Shared>,
    max_tensor_bytes: u64,
    /// Invocations per dot product, 1 on software adapters.
    lanes: u32,
    max_bytes: Option<u64>,
    tensors: Tensors,
    places: Vec<Place>,
    /// Buffers made ahead of [`allocate`](Self::allocate).
    reserved: Vec<(Missing, wgpu::Buffer)>,
    /// Bound in place of absent optional inputs, and of an absent output: no buffer may be both.
    nothing: [wgpu::Buffer; 2],
    /// What launches of one op leave to each other; the last one is the largest, the others are those of
    /// earlier recordings.
    scratch: Vec<wgpu::Buffer>,
    /// Where results are mapped, as far as none are; grown when a larger read is asked for.
    staging: Vec<wgpu::Buffer>,
    source: fn(&Kernel) -> String,
    verdicts: known_answer::Verdicts,
    fault: Arc<Fault>,
    pace: Pace,
    /// Encoded and not yet submitted.
    commands: Option<Commands>,
    counts: Counts,
}

/// What those on one device share. The last one closes it.
#[derive(Debug)]
struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: String,
    pipelines: RefCell<HashMap<(&'static str, Dtype), wgpu::ComputePipeline>>,
    faults: Faults,
}

/// A plan as a list of launches whose objects all exist.
#[derive(Debug)]
pub struct Recording {
    launches: Vec<Launch>,
}

#[derive(Debug)]
struct Launch {
    kernel: &'static str,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    /// How long it takes, see [`fuse::launches`].
    work: u64,
}

impl Gpu {
    /// What the adapter calls itself.
    pub fn adapter(&self) -> &str {
        &self.shared.adapter
    }

    /// What was made and sent so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The most bytes one tensor may have.
    pub(crate) fn max_tensor_bytes(&self) -> u64 {
        self.max_tensor_bytes
    }

    /// Writes words from word `offset` of a tensor on.
    pub(crate) fn upload(&mut self, id: TensorId, offset: usize, words: &[u32]) {
        if self.is_lost() {
            return;
        }
        // A write goes before whatever is submitted after it.
        self.submit();
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let Place { buffer, offset: begin, .. } = &self.places[id.index()];
        for (i, portion) in bytes.chunks(UPLOAD_PORTION_BYTES).enumerate() {
            let at = begin + (4 * offset + i * UPLOAD_PORTION_BYTES) as u64;
            self.shared.queue.write_buffer(buffer, at, portion);
            if portion.len() == UPLOAD_PORTION_BYTES {
                self.shared.queue.submit([]); // lets the queue release its staging memory
            }
        }
        self.counts.uploaded_bytes += bytes.len() as u64;
    }

    /// Fills a tensor with zeros.
    pub(crate) fn clear(&mut self, id: TensorId) {
        if self.is_lost() {
            return;
        }
        let place = self.places[id.index()].clone();
        place.clear(&mut self.commands().encoder);
    }

    /// Makes every pipeline, bind group and parameter that running `plan` needs.
    pub fn record(&mut self, plan: &Plan) -> Result<Recording> {
        if self.is_lost() {
            return Ok(Recording { launches: Vec::new() });
        }
        let (launches, works): (Vec<Dispatch>, Vec<u64>) =
            fuse::launches(plan, &self.tensors, self.lanes).into_iter().unzip();
        let alignment = u64::from(self.shared.device.limits().min_uniform_buffer_offset_alignment);
        let largest = launches.iter().map(|launch| launch.params.len() as u64).max().unwrap_or(0);
        let stride = largest.next_multiple_of(alignment);
        let mut bytes = vec![0; launches.len() * stride as usize];
        for (slot, launch) in bytes.chunks_exact_mut(stride as usize).zip(&launches) {
            slot[..launch.params.len()].copy_from_slice(&launch.params);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let scopes = Scopes::told_at_once(&self.shared.device);
        let params = self.create("params", bytes.len() as u64, usage);
        let scratch = launches.iter().map(Dispatch::scratch).max().unwrap_or(0);
        if scratch > self.scratch.last().map_or(0, wgpu::Buffer::size) {
            let buffer = self.create("scratch", scratch, wgpu::BufferUsages::STORAGE);
            self.scratch.push(buffer);
        }
        self.shared.queue.write_buffer(&params, 0, &bytes);
        let launches = launches.into_iter().zip(works).enumerate().map(|(i, (launch, work))| {
            let pipeline = self.pipeline(&launch.kernel);
            let group = self.bind(&pipeline, &launch, &params, i as u64 * stride);
            Launch { kernel: launch.kernel.name, pipeline, group, workgroups: launch.workgroups, work }
        });
        let recording = Recording { launches: launches.collect() };
        scopes.map_or(Ok(()), Scopes::ready)?;
        self.check()?;
        Ok(recording)
    }

    /// Rows of a run, at most `most`, of which each takes so many multiplications: fewer on a slow device,
    /// but never so few that other kernels compute them.
    pub(crate) fn rows_within(&self, per_row: usize, most: usize) -> usize {
        self.pace.rows(per_row, most)
    }

    /// Errors with the first error reported since the device was opened, if any.
    pub(crate) fn check(&self) -> Result<()> {
        self.fault.check()
    }

    /// Whether the device is of no more use.
    pub fn is_lost(&self) -> bool {
        self.check().is_err()
    }

    /// Brings the reason when the device is lost; cancelled if it is closed instead.
    pub(crate) fn lost(&self) -> oneshot::Receiver<Error> {
        self.fault.wait()
    }

    /// Gives the device up, and frees every buffer now instead of whenever JavaScript collects its
    /// garbage. It then counts as lost.
    pub(crate) fn release(&mut self) {
        self.fault.set(Error::device("WebGPU device: given up"));
        self.commands = None;
        self.places.drain(..).for_each(|place| place.buffer.destroy());
        self.reserved.drain(..).for_each(|(_, buffer)| buffer.destroy());
        self.scratch.drain(..).for_each(|buffer| buffer.destroy());
        self.staging.drain(..).for_each(|staging| staging.destroy());
        if Rc::strong_count(&self.shared) == 1 {
            self.shared.device.destroy();
        }
    }

    fn create(&mut self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.counts.buffers += 1;
        self.shared.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    fn pipeline(&mut self, kernel: &Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.shared.pipelines.borrow_mut();
        if let Some(pipeline) = pipelines.get(&(kernel.name, kernel.dtype)) {
            return pipeline.clone();
        }
        let source = (self.source)(kernel);
        let used = if source.contains("override LANES") { 2 } else { 1 };
        let module = self.shared.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let size = ("WORKGROUP_SIZE", f64::from(kernel.workgroup_size));
        let lanes = ("LANES", f64::from(self.lanes));
        let constants = [size, lanes];
        let pipeline = self.shared.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
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
        pipelines.insert((kernel.name, kernel.dtype), pipeline.clone());
        pipeline
    }

    /// A buffer that holds the words of a table.
    fn table(&mut self, binding: &Binding) -> Option<wgpu::Buffer> {
        let Binding::Table(words) = binding else { return None };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let table = self.create("table", 4 * words.len() as u64, usage);
        self.shared.queue.write_buffer(&table, 0, bytemuck::cast_slice(words));
        Some(table)
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
        let tables: Vec<wgpu::Buffer> =
            launch.bindings.iter().filter_map(|binding| self.table(binding)).collect();
        let mut table = tables.iter();
        let buffers = launch.bindings.iter().enumerate().map(|(i, binding)| match binding {
            Binding::Tensor(id) => self.places[id.index()].alone(),
            Binding::Around(id) => self.places[id.index()].buffer.as_entire_binding(),
            Binding::Table(_) => table.next().expect("made before").as_entire_binding(),
            Binding::Scratch(_) => self.scratch.last().expect("made before").as_entire_binding(),
            // An output that may be absent comes last.
            Binding::Absent => self.nothing[usize::from(i + 1 == launch.bindings.len())].as_entire_binding(),
        });
        let entries: Vec<_> = std::iter::once(wgpu::BindingResource::Buffer(params))
            .chain(buffers)
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        self.counts.bind_groups += 1;
        self.shared.device.create_bind_group(&wgpu::BindGroupDescriptor {
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
