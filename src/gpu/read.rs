//! Results, from the device to the host.

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::TensorId;

use super::Gpu;

/// Results are read in portions of about so many bytes, so that what they are mapped in stays small.
const READ_PORTION_BYTES: usize = 16 << 20;

impl Gpu {
    /// The words `offset..offset + len` of each of some tensors, after everything submitted so far.
    ///
    /// Errors with `Device` if the device is lost or an earlier submission failed.
    pub(crate) async fn read(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Vec<Vec<u32>>> {
        let mut results = Vec::with_capacity(parts.len());
        while let rest @ [first, ..] = &parts[results.len()..] {
            let mut bytes = 4 * first.2;
            let more = rest[1..].iter().take_while(|(_, _, len)| {
                bytes += 4 * len;
                bytes <= READ_PORTION_BYTES
            });
            let portion = &rest[..1 + more.count()];
            let words = self.read_portion(portion).await?;
            if portion.len() == 1 {
                results.push(words);
                continue;
            }
            let mut words = words.as_slice();
            for (_, _, len) in portion {
                let (part, after) = words.split_at(*len);
                results.push(part.to_vec());
                words = after;
            }
        }
        Ok(results)
    }

    async fn read_portion(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Vec<u32>> {
        self.check()?;
        let bytes = parts.iter().map(|(_, _, len)| 4 * *len as u64).sum();
        self.grow_staging(bytes).await?;
        let mut encoder = self.shared.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for (id, offset, len) in parts {
            let (from, size) = (4 * *offset as u64, 4 * *len as u64);
            encoder.copy_buffer_to_buffer(&self.buffers[id.index()], from, &self.staging, at, size);
            at += size;
        }
        self.shared.queue.submit([encoder.finish()]);
        self.counts.reads += 1;
        let (sender, receiver) = oneshot::channel();
        self.staging.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            let _ = sender.send(result); // the reader may have been dropped: nothing to tell
        });
        // A browser drives the callback from its event loop; natively this thread must.
        #[cfg(not(target_arch = "wasm32"))]
        self.shared
            .device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        if !matches!(receiver.await, Ok(Ok(()))) {
            // What is wrong may be told later; that something is, is known.
            self.fault.set(Error::device("WebGPU device: a result could not be read back"));
        }
        self.check()?;
        self.pace.done();
        let view = self
            .staging
            .get_mapped_range(..bytes)
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        let words = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.staging.unmap();
        Ok(words)
    }
}
