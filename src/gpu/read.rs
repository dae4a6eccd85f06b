//! Results, from the device to the host.

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::TensorId;

use super::Gpu;
use super::memory::Place;

/// Results are read in portions of about so many bytes, so that what they are mapped in stays small.
const READ_PORTION_BYTES: usize = 16 << 20;

/// Results on their way.
#[derive(Debug)]
pub(crate) struct Reading {
    staging: wgpu::Buffer,
    /// Words of each.
    lens: Vec<usize>,
    mapped: oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    #[cfg(not(target_arch = "wasm32"))]
    submission: wgpu::SubmissionIndex,
    /// All work that is done once they are there.
    given: u64,
}

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
            let reading = self.begin_read(&rest[..1 + more.count()]).await?;
            results.extend(self.finish_read(reading).await?.0);
        }
        Ok(results)
    }

    /// Submits copies of such words with what makes them; what is submitted from now on does not change them.
    ///
    /// Errors with `Device` if the device is lost, `Memory` if there is no room for them.
    pub(crate) async fn begin_read(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Reading> {
        self.check()?;
        let lens: Vec<usize> = parts.iter().map(|(_, _, len)| *len).collect();
        let bytes = 4 * lens.iter().sum::<usize>() as u64;
        let staging = self.take_staging(bytes).await?;
        let mut at = 0;
        for (id, offset, len) in parts {
            let Place { buffer, offset: begin, .. } = self.places[id.index()].clone();
            let (from, size) = (begin + 4 * *offset as u64, 4 * *len as u64);
            self.commands().encoder.copy_buffer_to_buffer(&buffer, from, &staging, at, size);
            at += size;
        }
        let (_submission, given) = self.submit().expect("copies are encoded");
        self.counts.reads += 1;
        let (sender, mapped) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            let _ = sender.send(result); // the reader may have been dropped: nothing to tell
        });
        Ok(Reading {
            staging,
            lens,
            mapped,
            #[cfg(not(target_arch = "wasm32"))]
            submission: _submission,
            given,
        })
    }

    /// Waits for what was begun to be read. Tells how long, ms, the device took since it had done all before.
    ///
    /// Errors as [`read`](Self::read).
    pub(crate) async fn finish_read(&mut self, reading: Reading) -> Result<(Vec<Vec<u32>>, f64)> {
        // A browser drives the callback from its event loop; natively this thread must.
        #[cfg(not(target_arch = "wasm32"))]
        self.shared
            .device
            .poll(wgpu::PollType::Wait { submission_index: Some(reading.submission), timeout: None })
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        if !matches!(reading.mapped.await, Ok(Ok(()))) {
            // What is wrong may be told later; that something is, is known.
            self.fault.set(Error::device("WebGPU device: a result could not be read back"));
        }
        self.check()?;
        let took = self.pace.done(reading.given);
        let bytes = 4 * reading.lens.iter().sum::<usize>() as u64;
        let view = reading
            .staging
            .get_mapped_range(..bytes)
            .map_err(|e| Error::device(format!("WebGPU device: {e}")))?;
        let mut at = 0;
        let part = |len: &usize| {
            let words = bytemuck::pod_collect_to_vec(&view[at..at + 4 * len]);
            at += 4 * len;
            words
        };
        let results = reading.lens.iter().map(part).collect();
        drop(view);
        reading.staging.unmap();
        self.staging.push(reading.staging);
        Ok((results, took))
    }

    /// Notes how long it took until a block of so many tokens was there, which an idle device was given.
    pub(crate) fn note_block(&mut self, steps: usize, took: f64) {
        self.pace.drawn(steps, took);
    }

    /// Tokens of a block, from `least` to `most`: more where waiting is slow.
    pub(crate) fn block_steps(&self, least: usize, most: usize) -> usize {
        self.pace.steps(least, most)
    }
}
