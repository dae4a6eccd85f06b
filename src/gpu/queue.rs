//! Commands on their way to the device: what is submitted together. How much that may be, `pace` says.
//! Not results, which are `read`'s; but a copy of them goes with the work that makes them.

use super::{Gpu, Recording};

/// With so many launches the device has work while the host encodes more: they are not kept waiting.
const MANY_LAUNCHES: usize = 128;

/// Commands that are encoded and not yet submitted.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) encoder: wgpu::CommandEncoder,
    launches: usize,
    /// How long they take, see [`work`](super::ops::work).
    work: u64,
}

impl Gpu {
    /// Where the next command goes.
    pub(super) fn commands(&mut self) -> &mut Commands {
        let device = &self.shared.device;
        self.commands.get_or_insert_with(|| Commands {
            encoder: device.create_command_encoder(&Default::default()),
            launches: 0,
            work: 0,
        })
    }

    /// Hands everything that is encoded to the device. Returns what is to be waited for, and the work that is done then.
    pub(super) fn submit(&mut self) -> Option<(wgpu::SubmissionIndex, u64)> {
        let Commands { encoder, work, .. } = self.commands.take()?;
        let given = self.pace.submitted(work);
        self.counts.submits += 1;
        Some((self.shared.queue.submit([encoder.finish()]), given))
    }

    /// Runs the recording `times` times over. It is submitted as one command buffer with what comes before
    /// and after it, up to a read, a write or [`MANY_LAUNCHES`]; or as several where one would keep the device for
    /// too long.
    pub(crate) fn run(&mut self, recording: &Recording, times: usize) {
        if self.is_lost() {
            return;
        }
        if self.commands().launches >= MANY_LAUNCHES {
            self.submit();
        }
        let pace = self.pace.clone();
        let mut launches = (0..times).flat_map(|_| &recording.launches).peekable();
        while let Some(next) = launches.peek() {
            if !pace.takes(self.commands().work, next.work) {
                self.submit();
            }
            let Commands { encoder, launches: held, work } = self.commands();
            let before = *held;
            let mut pass = encoder.begin_compute_pass(&Default::default());
            while let Some(launch) = launches.next_if(|next| pace.takes(*work, next.work)) {
                let [x, y, z] = launch.workgroups;
                pass.set_pipeline(&launch.pipeline);
                pass.set_bind_group(0, &launch.group, &[]);
                pass.dispatch_workgroups(x, y, z);
                *held += 1;
                *work += launch.work;
            }
            drop(pass);
            let encoded = *held - before;
            self.counts.dispatches += encoded;
        }
    }
}
