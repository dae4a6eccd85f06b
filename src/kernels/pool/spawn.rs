//! Where threads come from: the system; or, in WebAssembly, the page, which starts them beforehand.
//! What they do is not known here.

use std::time::Duration;

pub(super) use here::{Worker, has_failed, spawn};
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub use here::{enlist, failure, serve};

/// How often a thread that waits looks whether another has failed.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Whether there are none: what only they need is then left out of the module.
pub(super) const NEVER: bool = cfg!(all(target_arch = "wasm32", not(target_feature = "atomics")));

#[cfg(not(target_arch = "wasm32"))]
mod here {
    use std::thread::{Builder, JoinHandle};

    /// A thread of the system.
    #[derive(Debug)]
    pub(in super::super) struct Worker(JoinHandle<()>);

    impl Worker {
        /// Waits for its end.
        pub(in super::super) fn join(self) {
            // It keeps panics for the caller of its job.
            self.0.join().ok();
        }
    }

    /// A thread that does `work`; `None` if there is none to be had.
    pub(in super::super) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<Worker> {
        Builder::new().name("lorakeet".to_owned()).spawn(work).ok().map(Worker)
    }

    /// Whether one is gone without having ended: a panic is caught, and all else ends the process.
    pub(in super::super) fn has_failed() -> bool {
        false
    }
}

#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
mod here {
    /// There is none.
    #[derive(Debug)]
    pub(in super::super) enum Worker {}

    impl Worker {
        pub(in super::super) fn join(self) {
            match self {}
        }
    }

    pub(in super::super) fn spawn(_work: impl FnOnce() + Send + 'static) -> Option<Worker> {
        None
    }

    pub(in super::super) fn has_failed() -> bool {
        false
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
mod here {
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

    use super::PATIENCE;

    /// What to do, and what to set when it is done and its thread is free again.
    type Work = (Box<dyn FnOnce() + Send>, Arc<AtomicBool>);

    /// Work that a thread is to take, and how many threads have none.
    static QUEUE: Mutex<(Vec<Work>, usize)> = Mutex::new((Vec::new(), 0));
    static CALL: Condvar = Condvar::new();
    static RETURN: Condvar = Condvar::new();
    /// Set from outside when a thread has trapped: nothing of it runs then that could tell.
    static FAILURE: AtomicU32 = AtomicU32::new(0);

    /// A thread that the page has started, while it works.
    #[derive(Debug)]
    pub(in super::super) struct Worker(Arc<AtomicBool>);

    impl Worker {
        /// Waits until the thread is free for other work, unless one has failed.
        pub(in super::super) fn join(self) {
            let mut queue = queue();
            while !self.0.load(SeqCst) && !has_failed() {
                queue = RETURN.wait_timeout(queue, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn queue() -> MutexGuard<'static, (Vec<Work>, usize)> {
        QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that does `work`; `None` if all have some.
    pub(in super::super) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<Worker> {
        let mut queue = queue();
        let (works, free) = &mut *queue;
        *free = free.checked_sub(1)?;
        let done = Arc::new(AtomicBool::new(false));
        works.push((Box::new(work), Arc::clone(&done)));
        CALL.notify_one();
        Some(Worker(done))
    }

    pub(in super::super) fn has_failed() -> bool {
        FAILURE.load(SeqCst) != 0
    }

    /// A thread that is about to [`serve`] counts from now on.
    pub fn enlist() {
        queue().1 += 1;
    }

    /// What a thread does that the page has started: it works for one pool after the other.
    pub fn serve() -> ! {
        loop {
            let mut waiting = queue();
            let (work, done) = loop {
                match waiting.0.pop() {
                    Some(work) => break work,
                    None => waiting = CALL.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(waiting);
            work();
            let mut queue = queue();
            queue.1 += 1;
            done.store(true, SeqCst);
            RETURN.notify_all();
        }
    }

    /// Where to write a 1 when a thread has trapped, so that the others do not wait for it.
    pub fn failure() -> *const u32 {
        FAILURE.as_ptr()
    }
}
