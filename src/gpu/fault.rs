//! What goes wrong with a device outside of any call: its loss, above all. Who waits for it is told.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use futures_channel::oneshot;

use crate::error::{Error, Result};

/// Those of everyone on one device: what befalls it befalls all.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<Weak<Fault>>>>);

impl Faults {
    /// The fault of one more on the device.
    pub(super) fn one_more(&self) -> Arc<Fault> {
        let fault = Arc::new(Fault::default());
        self.list().push(Arc::downgrade(&fault));
        fault
    }

    /// Tells all that are left.
    pub(super) fn set(&self, error: &Error) {
        self.list().retain(|fault| fault.upgrade().map(|fault| fault.set(error.clone())).is_some());
    }

    fn list(&self) -> MutexGuard<'_, Vec<Weak<Fault>>> {
        self.0.lock().expect("nothing panics with it in hand")
    }
}

/// The first such error, for good: a device that had one is done with.
#[derive(Debug, Default)]
pub(super) struct Fault {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    error: Option<Error>,
    waiting: Vec<oneshot::Sender<Error>>,
}

impl Fault {
    /// Keeps the first error.
    pub(super) fn set(&self, error: Error) {
        let mut state = self.state();
        if state.error.is_none() {
            // One that waits no more needs not be told.
            state.waiting.drain(..).for_each(|waiting| drop(waiting.send(error.clone())));
            state.error = Some(error);
        }
    }

    /// Errors with what there is.
    pub(super) fn check(&self) -> Result<()> {
        self.state().error.clone().map_or(Ok(()), Err)
    }

    /// Brings the error when it comes; is cancelled by [`release`](Self::release).
    pub(super) fn wait(&self) -> oneshot::Receiver<Error> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        match &state.error {
            Some(error) => drop(sender.send(error.clone())),
            None => state.waiting.push(sender),
        }
        receiver
    }

    /// Tells nobody from now on: the device is closed.
    pub(super) fn release(&self) {
        self.state().waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stays_and_is_told_to_all() {
        let fault = Fault::default();
        let mut before = fault.wait();
        assert_eq!((fault.check(), before.try_recv()), (Ok(()), Ok(None)));
        let [lost, later] = ["lost", "later"].map(Error::device);
        fault.set(lost.clone());
        fault.set(later);
        assert_eq!(fault.check(), Err(lost.clone()));
        assert_eq!([before.try_recv(), fault.wait().try_recv()], [(); 2].map(|()| Ok(Some(lost.clone()))));
    }

    #[test]
    fn a_device_that_is_closed_tells_nobody() {
        let fault = Fault::default();
        let mut waiting = fault.wait();
        fault.release();
        fault.set(Error::device("lost"));
        assert_eq!(waiting.try_recv(), Err(oneshot::Canceled));
    }
}
