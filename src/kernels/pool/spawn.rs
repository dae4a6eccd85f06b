//! Where threads come from: the system; or, in WebAssembly, the page, which starts them beforehand.
//! What they do is not known here.

pub(super) use here::{Worker, has_failed, spawn};
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub use here::{enlist, failure, serve};

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
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::{Condvar, Mutex, PoisonError};

    type Work = Box<dyn FnOnce() + Send>;

    /// Work that a thread is to take, and how many threads have none.
    static QUEUE: Mutex<(Vec<Work>, usize)> = Mutex::new((Vec::new(), 0));
    static CALL: Condvar = Condvar::new();
    /// Set from outside when a thread has trapped: nothing of it runs then that could tell.
    static FAILURE: AtomicU32 = AtomicU32::new(0);

    /// A thread that the page has started. It goes back to waiting by itself.
    #[derive(Debug)]
    pub(in super::super) struct Worker;

    impl Worker {
        pub(in super::super) fn join(self) {}
    }

    /// A thread that does `work`; `None` if all have some.
    pub(in super::super) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<Worker> {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        let (works, free) = &mut *queue;
        *free = free.checked_sub(1)?;
        works.push(Box::new(work));
        CALL.notify_one();
        Some(Worker)
    }

    pub(in super::super) fn has_failed() -> bool {
        FAILURE.load(SeqCst) != 0
    }

    /// A thread that is about to [`serve`] counts from now on.
    pub fn enlist() {
        QUEUE.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
    }

    /// What a thread does that the page has started: it works for one pool after the other.
    pub fn serve() -> ! {
        loop {
            let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
            let work = loop {
                match queue.0.pop() {
                    Some(work) => break work,
                    None => queue = CALL.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            work();
            enlist();
        }
    }

    /// Where to write a 1 when a thread has trapped, so that the others do not wait for it.
    pub fn failure() -> *const u32 {
        FAILURE.as_ptr()
    }
}
