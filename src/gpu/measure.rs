//! How fast a device is at what kernels are made of, and each kernel in its place in a recording.
//! By the host's clock: the time of so many repetitions less that of fewer, so that what a submit costs falls out.

use futures_channel::oneshot;

use crate::error::{Error, Result};

use super::{Gpu, Recording};

/// Tells the time, ms.
pub(crate) type Clock<'a> = &'a dyn Fn() -> f64;

/// Repetitions take at least so long, ms: browsers round their clocks to a tenth of one, or to one.
const LEAST_MS: f64 = 20.0;
const MOST_REPEATS: usize = 1 << 12;
/// Invocations that multiply or read: enough for any device.
const GROUPS: u32 = 2048;

/// A launch of one of `shaders/measure`.
struct Probe {
    pipeline: wgpu::ComputePipeline,
    /// Taken in turn.
    groups: Vec<wgpu::BindGroup>,
    workgroups: u32,
}

/// What a device does in a second, or how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceilings {
    /// A launch that needs what the last one wrote, µs.
    pub dependent_us: f64,
    /// One that does not.
    pub independent_us: f64,
    /// One that needs it, in a pass of its own.
    pub pass_us: f64,
    /// What the host does for each launch, µs.
    pub encode_us: f64,
    /// From memory, bytes a second.
    pub memory: f64,
    /// From its caches.
    pub cache: f64,
    /// From workgroup memory.
    pub workgroup: f64,
    /// Multiplications and additions in f32 a second.
    pub operations: f64,
}

/// How long the launches of one kernel take in a recording.
#[derive(Clone, Debug)]
pub(crate) struct KernelTime {
    /// Its name.
    pub kernel: &'static str,
    /// How often the recording has it.
    pub launches: usize,
    /// Of each, µs.
    pub us: f64,
    /// The same by the device's own clock, where it has one.
    pub device_us: Option<f64>,
}

impl Gpu {
    /// Invocations for each dot product, 1 on software adapters.
    pub(crate) fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Whether the device's own clock may be read.
    pub(crate) fn has_clock(&self) -> bool {
        self.shared.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Measures the device, each thing `runs` times, of which the middle one counts. `bytes` are read from memory, fewer if
    /// no buffer may have so many.
    ///
    /// Errors with `Device`, `Memory`.
    pub(crate) async fn ceilings(&mut self, bytes: u64, runs: usize, clock: Clock<'_>) -> Result<Ceilings> {
        let storage = wgpu::BufferUsages::STORAGE;
        let small: Vec<_> = (0..8).map(|_| self.create("launch", 16, storage)).collect();
        let sums = self.create("sums", u64::from(GROUPS) * 64 * 16, storage);
        let bytes = bytes.min(self.max_tensor_bytes);
        let large = self.create("read", bytes, storage);
        let cached = self.create("cached", bytes.min(4 << 20), storage);
        self.check()?;

        let launch = include_str!("../../shaders/measure/launch.wgsl");
        let dependent = self.probe(launch, &[&[&small[0]]], 1);
        let sets: Vec<[&wgpu::Buffer; 1]> = small.iter().map(|buffer| [buffer]).collect();
        let sets: Vec<&[&wgpu::Buffer]> = sets.iter().map(|set| &set[..]).collect();
        let independent = self.probe(launch, &sets, 1);
        let read = include_str!("../../shaders/measure/read.wgsl");
        let memory = self.probe(read, &[&[&large, &sums]], GROUPS);
        let cache = self.probe(read, &[&[&cached, &sums]], GROUPS);
        let multiply = include_str!("../../shaders/measure/multiply.wgsl");
        let operations = self.probe(multiply, &[&[&sums]], GROUPS);
        let shared = include_str!("../../shaders/measure/workgroup.wgsl");
        let workgroup = self.probe(shared, &[&[&sums]], GROUPS);

        let invocations = f64::from(GROUPS) * 64.0;
        let per_second = |each: f64, us: f64| each / us * 1e6;
        let dependent_us = self.each_us(&dependent, false, runs, clock).await?;
        let began = clock();
        let commands = self.encode(&dependent, MOST_REPEATS, false);
        let encode_us = (clock() - began) * 1e3 / MOST_REPEATS as f64;
        drop(commands);
        let ceilings = Ceilings {
            dependent_us,
            independent_us: self.each_us(&independent, false, runs, clock).await?,
            pass_us: self.each_us(&dependent, true, runs, clock).await?,
            encode_us,
            memory: per_second(bytes as f64, self.each_us(&memory, false, runs, clock).await?),
            cache: per_second(cached.size() as f64, self.each_us(&cache, false, runs, clock).await?),
            workgroup: per_second(
                512.0 * 16.0 * invocations,
                self.each_us(&workgroup, false, runs, clock).await?,
            ),
            operations: per_second(
                2.0 * 512.0 * 16.0 * invocations,
                self.each_us(&operations, false, runs, clock).await?,
            ),
        };
        small.iter().chain([&sums, &large, &cached]).for_each(wgpu::Buffer::destroy);
        Ok(ceilings)
    }

    /// How long each kernel of a recording takes where it stands, at least of `runs`, all else of it being done as well. What the
    /// tensors hold does not matter, and is not kept.
    ///
    /// Errors with `Device`.
    pub(crate) async fn time_kernels(
        &mut self,
        recording: &Recording,
        runs: usize,
        clock: Clock<'_>,
    ) -> Result<Vec<KernelTime>> {
        let mut kinds: Vec<(&'static str, usize)> = Vec::new();
        for launch in &recording.launches {
            match kinds.iter_mut().find(|(name, _)| *name == launch.kernel) {
                Some((_, count)) => *count += 1,
                None => kinds.push((launch.kernel, 1)),
            }
        }
        let once = self.fastest(recording, "", 1, runs, clock).await?;
        let mut times = Vec::new();
        for (kernel, launches) in kinds {
            // So often that it shows beside the rest.
            let mut repeats = 9;
            let mut more = self.fastest(recording, kernel, repeats, runs, clock).await? - once;
            while more < LEAST_MS && repeats < 1000 {
                repeats *= 4;
                more = self.fastest(recording, kernel, repeats, runs, clock).await? - once;
            }
            let us = more.max(0.0) * 1e3 / ((repeats - 1) * launches) as f64;
            let device_us = self.device_us(recording, kernel, repeats, launches).await?;
            times.push(KernelTime { kernel, launches, us, device_us });
        }
        Ok(times)
    }

    /// Least time of a few, ms, of a recording in which each launch of `kernel` is made so often.
    async fn fastest(
        &mut self,
        recording: &Recording,
        kernel: &str,
        repeats: usize,
        runs: usize,
        clock: Clock<'_>,
    ) -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..runs.max(1) {
            let mut encoder = self.shared.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                for launch in &recording.launches {
                    let [x, y, z] = launch.workgroups;
                    pass.set_pipeline(&launch.pipeline);
                    pass.set_bind_group(0, &launch.group, &[]);
                    (0..if launch.kernel == kernel { repeats } else { 1 })
                        .for_each(|_| pass.dispatch_workgroups(x, y, z));
                }
            }
            least = least.min(self.timed(encoder.finish(), clock).await?);
        }
        Ok(least)
    }

    /// What a launch of `kernel` takes by the device's clock, all of a recording `repeats` times in one pass.
    async fn device_us(
        &mut self,
        recording: &Recording,
        kernel: &str,
        repeats: usize,
        launches: usize,
    ) -> Result<Option<f64>> {
        if !self.has_clock() {
            return Ok(None);
        }
        let device = &self.shared.device;
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let buffer = |usage| {
            let descriptor =
                wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let mapped = buffer(super::STAGING);
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            for launch in recording.launches.iter().filter(|launch| launch.kernel == kernel) {
                let [x, y, z] = launch.workgroups;
                pass.set_pipeline(&launch.pipeline);
                pass.set_bind_group(0, &launch.group, &[]);
                (0..repeats).for_each(|_| pass.dispatch_workgroups(x, y, z));
            }
        }
        encoder.resolve_query_set(&queries, 0..2, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &mapped, 0, 16);
        self.shared.queue.submit([encoder.finish()]);
        let (sender, receiver) = oneshot::channel();
        mapped.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = sender.send(result);
        });
        self.poll()?;
        if !matches!(receiver.await, Ok(Ok(()))) {
            return Err(Error::device("WebGPU device: timestamps could not be read back"));
        }
        let view = mapped.get_mapped_range(..).map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        let ticks = times[1].saturating_sub(times[0]) as f64;
        let us = ticks * f64::from(self.shared.queue.get_timestamp_period()) / 1e3;
        // A device may give no time at all where it would tell too much.
        Ok((ticks > 0.0).then(|| us / (repeats * launches) as f64))
    }

    fn probe(&self, source: &'static str, sets: &[&[&wgpu::Buffer]], workgroups: u32) -> Probe {
        let device = &self.shared.device;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("measure"),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("measure"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let group = |buffers: &&[&wgpu::Buffer]| {
            let entries: Vec<_> = (0..)
                .zip(*buffers)
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("measure"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            })
        };
        let groups = sets.iter().map(group).collect();
        Probe { pipeline, groups, workgroups }
    }

    fn encode(&self, probe: &Probe, repeats: usize, passes: bool) -> wgpu::CommandBuffer {
        let mut encoder = self.shared.device.create_command_encoder(&Default::default());
        for _ in 0..if passes { repeats } else { 1 } {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&probe.pipeline);
            for group in probe.groups.iter().cycle().take(if passes { 1 } else { repeats }) {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(probe.workgroups, 1, 1);
            }
        }
        encoder.finish()
    }

    /// Time of one launch, µs: the slope over repeats; or, where other work of the machine hides that, the most it can be.
    async fn each_us(&mut self, probe: &Probe, passes: bool, runs: usize, clock: Clock<'_>) -> Result<f64> {
        let mut repeats = 1;
        loop {
            let commands = self.encode(probe, repeats, passes);
            if self.timed(commands, clock).await? >= LEAST_MS || repeats == MOST_REPEATS {
                break;
            }
            repeats *= 2;
        }
        let mut times = Vec::new();
        for _ in 0..runs.max(1) {
            let less = self.encode(probe, repeats, passes);
            let more = self.encode(probe, 2 * repeats, passes);
            let less = self.timed(less, clock).await?;
            let more = self.timed(more, clock).await?;
            let slope = if more > less { more - less } else { more / 2.0 };
            times.push(slope * 1e3 / repeats as f64);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// From the submit until all is done, ms.
    async fn timed(&mut self, commands: wgpu::CommandBuffer, clock: Clock<'_>) -> Result<f64> {
        let began = clock();
        self.shared.queue.submit([commands]);
        let (sender, receiver) = oneshot::channel();
        self.shared.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        self.poll()?;
        let _ = receiver.await;
        self.check()?;
        Ok(clock() - began)
    }

    /// A browser drives callbacks from its event loop; natively this thread must.
    fn poll(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        self.shared
            .device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        Ok(())
    }
}
