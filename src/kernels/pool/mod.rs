//! Threads that share the work of one op: a job is cut into parts, which are handed out one by one to
//! whoever is free. It knows no op; which part computes what is the op's business, and never depends on threads.

mod outputs;
mod spawn;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use outputs::Shared;
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub use spawn::{enlist, failure, serve};

/// Most threads of a pool: more gain nothing on work of this size.
pub const MAX_THREADS: usize = 8;
/// Multiplications that are worth another thread's waking.
pub(crate) const LEAST_WORK: usize = 1 << 15;
/// Parts for each thread, so that one which is held up does not hold up the others.
const PARTS: usize = 4;
/// How often to look for work, or for the others' end, before sleeping: some ten microseconds, which is longer
/// than the steps between two jobs of a plan.
const LOOKS: u32 = if cfg!(target_arch = "wasm32") { 20_000 } else { 1_000 };

/// Threads, the calling one among them. Without others all is done at once and in order.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Multiplications that a part has at least.
    least_work: usize,
    board: Arc<Board>,
    workers: Vec<spawn::Worker>,
    /// Jobs come from one thread, and from within none.
    one_caller: PhantomData<Cell<()>>,
}

type Job<'a> = dyn Fn(usize) + Sync + 'a;

/// What threads see of each other.
#[derive(Default)]
struct Board {
    /// In the upper half how many parts the job has, in the lower how many are taken.
    ticket: AtomicU64,
    /// The job: there while parts of it are not done.
    job: UnsafeCell<Option<&'static Job<'static>>>,
    /// Parts that are not done.
    left: AtomicU32,
    /// What the first part that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by those who go to sleep, and who wake them.
    sleep: Mutex<()>,
    /// Workers that sleep, until there is work or an end.
    sleepers: AtomicU32,
    work: Condvar,
    /// Whether the caller sleeps, until all parts are done.
    caller_sleeps: AtomicBool,
    done: Condvar,
    ended: AtomicBool,
}

// SAFETY: `job` is written while no part of it can be taken, and read by who has taken one.
unsafe impl Sync for Board {}
// SAFETY: as before; a job can be called by any thread.
unsafe impl Send for Board {}

impl Pool {
    /// A pool of so many threads, at least 1; fewer where the system does not give them.
    pub(crate) fn new(threads: usize, least_work: usize) -> Self {
        let board = Arc::new(Board::default());
        let worker = |_| {
            let board = Arc::clone(&board);
            spawn::spawn(move || board.serve())
        };
        let workers = (1..threads.clamp(1, MAX_THREADS)).map_while(worker).collect();
        Self { least_work, board, workers, one_caller: PhantomData }
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        1 + self.workers.len()
    }

    /// Hands out 0..len in ranges whose bounds are multiples of `step`. Each is given to `part` once, on any
    /// thread; so many that each is worth it, if all take `work` multiplications.
    pub(crate) fn split(&self, len: usize, step: usize, work: usize, part: impl Fn(Range<usize>) + Sync) {
        let steps = len.div_ceil(step);
        let most = if spawn::NEVER || self.workers.is_empty() { 1 } else { PARTS * self.threads() };
        let parts = most.min(work / self.least_work).min(steps);
        if parts < 2 {
            return part(0..len);
        }
        let bound = |i: usize| (i * steps / parts * step).min(len);
        self.run(parts, &|i| part(bound(i)..bound(i + 1)));
    }

    /// The same for the rows of `out`, `width` elements each: the rows of a part are its own.
    pub(crate) fn split_rows<T: Send>(
        &self,
        out: &mut [T],
        width: usize,
        work: usize,
        part: impl Fn(Range<usize>, &mut [T]) + Sync,
    ) {
        let rows = out.len() / width;
        let out = Shared::new(out);
        self.split(rows, 1, work, |rows| {
            // SAFETY: parts have different rows.
            let own = unsafe { out.slice(rows.start * width, rows.len() * width) };
            part(rows, own);
        });
    }

    /// Calls `job` for each number below `parts`, once, on any thread.
    fn run(&self, parts: usize, job: &Job<'_>) {
        let board = &*self.board;
        board.check();
        // SAFETY: all parts of the job before are done, so nobody reads it; and this one is not read after its own.
        unsafe { *board.job.get() = Some(std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job)) };
        board.left.store(parts as u32, Relaxed);
        board.ticket.store((parts as u64) << 32, SeqCst);
        if board.sleepers.load(SeqCst) > 0 {
            drop(board.lock());
            board.work.notify_all();
        }
        while board.take_part() {}
        board.wait();
        let panic = board.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.board.ended.store(true, SeqCst);
        drop(self.board.lock());
        self.board.work.notify_all();
        self.workers.drain(..).for_each(spawn::Worker::join);
    }
}

impl Board {
    /// What a worker does.
    fn serve(&self) {
        loop {
            let mut looks = 0;
            while looks < LOOKS {
                if self.take_part() {
                    looks = 0;
                }
                spin_loop();
                looks += 1;
            }
            let mut guard = self.lock();
            self.sleepers.fetch_add(1, SeqCst);
            while !self.has_part() && !self.ended.load(SeqCst) {
                guard = self.work.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, SeqCst);
            if self.ended.load(SeqCst) {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_part(&self) -> bool {
        let ticket = self.ticket.load(SeqCst);
        (ticket as u32) < (ticket >> 32) as u32
    }

    /// Takes a part and does it; false if there is none.
    fn take_part(&self) -> bool {
        let next = |ticket: u64| ((ticket as u32) < (ticket >> 32) as u32).then(|| ticket + 1);
        let Ok(ticket) = self.ticket.fetch_update(AcqRel, Acquire, next) else { return false };
        // SAFETY: the job stays until the part is done.
        let job = unsafe { *self.job.get() }.expect("a job");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(ticket as u32 as usize))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        if self.left.fetch_sub(1, SeqCst) == 1 && self.caller_sleeps.load(SeqCst) {
            drop(self.lock());
            self.done.notify_one();
        }
        true
    }

    /// Waits until all parts are done.
    fn wait(&self) {
        for _ in 0..LOOKS {
            if self.left.load(Acquire) == 0 {
                return;
            }
            spin_loop();
        }
        let mut guard = self.lock();
        self.caller_sleeps.store(true, SeqCst);
        while self.left.load(SeqCst) > 0 {
            guard = self.done.wait_timeout(guard, spawn::PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
            self.check();
        }
        self.caller_sleeps.store(false, SeqCst);
    }

    /// Panics if a thread has failed for good: its part would never be done.
    fn check(&self) {
        assert!(!spawn::has_failed(), "a thread of the pool has failed");
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_element_is_one_parts_and_bounds_are_steps() {
        let pool = Pool::new(3, 10);
        for (len, step, work) in [(0, 4, 1000), (1, 4, 1000), (64, 16, 15), (65, 16, 1000), (1000, 1, 1000)] {
            let taken: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
            let parts = AtomicUsize::new(0);
            pool.split(len, step, work, |part| {
                assert!(part.start % step == 0 && (part.end % step == 0 || part.end == len), "{part:?}");
                parts.fetch_add(1, SeqCst);
                taken[part].iter().for_each(|taken| _ = taken.fetch_add(1, SeqCst));
            });
            assert!(taken.iter().all(|taken| taken.load(SeqCst) == 1), "{len} by {step}");
            let most = (work / 10).clamp(1, PARTS * 3).min(len.div_ceil(step).max(1));
            assert_eq!(parts.into_inner(), most, "{len} by {step}, work {work}");
        }
    }

    #[test]
    fn rows_are_written_by_those_who_have_them() {
        let pool = Pool::new(4, 1);
        let mut rows = vec![0; 37 * 5];
        pool.split_rows(&mut rows, 5, 1000, |part, own| {
            assert_eq!(own.len(), 5 * part.len());
            own.chunks_exact_mut(5).zip(part).for_each(|(row, n)| row.fill(n));
        });
        assert!(rows.chunks_exact(5).enumerate().all(|(n, row)| row.iter().all(|&x| x == n)));
    }

    #[test]
    fn threads_work_at_the_same_time() {
        let pool = Pool::new(3, 1);
        assert_eq!(pool.threads(), 3);
        // No part ends before three have begun.
        let (together, threads) = (Barrier::new(3), Mutex::new(BTreeSet::new()));
        pool.run(3, &|_| {
            together.wait();
            threads.lock().expect("no panic").insert(format!("{:?}", thread::current().id()));
        });
        assert_eq!(threads.into_inner().expect("no panic").len(), 3);
    }

    /// More threads than any machine for tests has cores, in jobs of all lengths, with pauses in which they
    /// fall asleep.
    #[test]
    fn no_part_is_lost_under_load() {
        thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || {
                    let pool = Pool::new(MAX_THREADS, 1);
                    for job in 0..2000 {
                        let (parts, sum) = (2 + (job + seed) % 40, AtomicUsize::new(0));
                        pool.run(parts, &|part| _ = sum.fetch_add(part + 1, SeqCst));
                        assert_eq!(sum.into_inner(), parts * (parts + 1) / 2);
                        if job % 500 == 0 {
                            thread::sleep(Duration::from_millis(3));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_a_part_is_the_callers_and_the_pool_lives_on() {
        let pool = Pool::new(3, 1);
        for bad in [0, 5, 11] {
            let done = AtomicUsize::new(0);
            let job = |part| {
                assert_ne!(part, bad, "part {bad} fails");
                done.fetch_add(1, SeqCst);
            };
            let panic = catch_unwind(AssertUnwindSafe(|| pool.run(12, &job))).expect_err("a panic");
            let words = panic.downcast_ref::<String>().expect("words");
            assert!(words.contains(&format!("part {bad} fails")), "{words}");
            assert_eq!(done.into_inner(), 11);
        }
        let sum = AtomicUsize::new(0);
        pool.run(10, &|part| _ = sum.fetch_add(part, SeqCst));
        assert_eq!(sum.into_inner(), 45);
    }

    #[test]
    fn threads_end_with_the_pool() {
        let pool = Pool::new(4, 1);
        let board = Arc::downgrade(&pool.board);
        assert_eq!(board.strong_count(), 4);
        drop(pool);
        assert_eq!(board.strong_count(), 0);
    }
}
