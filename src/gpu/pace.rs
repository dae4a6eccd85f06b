//! How much work a device gets at a time: so little that it is free again before anything that watches
//! it takes it for hung, measured on the device itself. What work is, `work` says.

/// A submit keeps a device for about so long, ms. Systems reset one that does not answer for two
/// seconds; browsers mean to allow less than one.
const SUBMIT_MS: f64 = 100.0;
/// A run of rows takes about so long, ms: no abort takes effect before it ends.
const RUN_MS: f64 = 500.0;
/// What takes less than this is mostly waiting: it says no more than that a device is not slower.
const NOISE_MS: f64 = 20.0;
/// Work a ms of the slowest device there may be; every one counts as such until it is measured.
const LEAST_SPEED: f64 = 5e6;
/// Tokens of a block beside whose time that of one token tells how long waiting takes.
const FEW_STEPS: usize = 4;
/// Fewer rows than this are computed by other kernels.
const LEAST_ROWS: usize = 16;

/// What is known of a device's speed.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Time, ms.
    clock: fn() -> f64,
    least: f64,
    /// Work a ms, as last measured.
    speed: f64,
    /// All work that the device was given, and what of it is known to be done.
    given: u64,
    finished: u64,
    /// When it began with what is not.
    began: Option<f64>,
    /// The shortest time, ms, until one token was there, and until a block of [`FEW_STEPS`].
    blocks: [Option<f64>; 2],
}

impl Pace {
    /// That of a device which has computed nothing yet.
    pub(super) fn new(clock: Option<fn() -> f64>, least: Option<f64>) -> Self {
        let least = least.unwrap_or(LEAST_SPEED);
        Self {
            clock: clock.unwrap_or(now),
            least,
            speed: least,
            given: 0,
            finished: 0,
            began: None,
            blocks: [None; 2],
        }
    }

    /// Whether a submit that holds `held` takes `more`; one that is empty takes anything.
    pub(super) fn takes(&self, held: u64, more: u64) -> bool {
        held == 0 || (held + more) as f64 <= self.speed * SUBMIT_MS
    }

    /// A power of two of rows, at most `most`, each of which takes `per_row`.
    pub(super) fn rows(&self, per_row: usize, most: usize) -> usize {
        let fit = (self.speed * RUN_MS / per_row.max(1) as f64) as usize;
        (1 << fit.max(LEAST_ROWS).ilog2()).min(most)
    }

    /// Notes that the device has been given work. Returns how much that is with all before.
    pub(super) fn submitted(&mut self, work: u64) -> u64 {
        self.began.get_or_insert_with(self.clock);
        self.given += work;
        self.given
    }

    /// Notes that the first `given` of all work is done. Returns how long it took, ms, since the device began with what
    /// was not done before.
    pub(super) fn done(&mut self, given: u64) -> f64 {
        let now = (self.clock)();
        let Some(began) = self.began.take_if(|_| given >= self.finished) else { return 0.0 };
        let (took, work) = ((now - began).max(0.0), given - self.finished);
        self.finished = given;
        // The device goes on with what it was given meanwhile.
        self.began = (self.given > given).then_some(now);
        let speed = work as f64 / took.max(1.0);
        // What is little for any device says nothing either: it is the host that was slow.
        let is_noise = took < NOISE_MS || work as f64 <= self.least * SUBMIT_MS;
        self.speed = if is_noise { self.speed.max(speed) } else { speed.max(self.least) };
        took
    }

    /// Notes how long it took until a block of so many tokens was there, which an idle device was given.
    pub(super) fn drawn(&mut self, steps: usize, took: f64) {
        let known = match steps {
            1 => &mut self.blocks[0],
            FEW_STEPS => &mut self.blocks[1],
            _ => return,
        };
        *known = Some(known.map_or(took, |known| known.min(took)));
    }

    /// How many tokens a block draws, from `least` to `most`: so many that waiting for them takes no longer than they do,
    /// where it takes long.
    pub(super) fn steps(&self, least: usize, most: usize) -> usize {
        let [Some(one), Some(few)] = self.blocks else { return least };
        let token = ((few - one) / (FEW_STEPS - 1) as f64).max(0.0);
        let wait = one - token;
        let mut steps = least;
        while steps < most && wait > NOISE_MS.max(steps as f64 * token) {
            steps *= 2;
        }
        steps.min(most)
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn now() -> f64 {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}

#[cfg(target_arch = "wasm32")]
fn now() -> f64 {
    js_sys::Date::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static TIME: Cell<f64> = const { Cell::new(0.0) };
    }

    /// Runs launches of such work on a device of `speed`; what each submit took, ms.
    fn run(pace: &mut Pace, launches: &[u64], speed: f64) -> Vec<f64> {
        let mut took = Vec::new();
        let mut held = 0;
        for &work in launches {
            if !pace.takes(held, work) {
                took.push(held as f64 / speed);
                pace.submitted(held);
                held = 0;
            }
            held += work;
        }
        took.push(held as f64 / speed);
        let given = pace.submitted(held);
        TIME.set(TIME.get() + took.iter().sum::<f64>());
        pace.done(given);
        took
    }

    /// A layer of a model of a billion parameters, and its head.
    const LAUNCHES: [u64; 4] = [100_000, 6_000_000, 4_000_000, 33_000_000];

    #[test]
    fn no_submit_takes_long_whatever_the_device() {
        for speed in [5e6, 3e7, 1e9, 2e10] {
            let mut pace = Pace::new(Some(|| TIME.get()), None);
            for run_of in 0..3 {
                let rows = pace.rows(1_000_000_000, 128) as u64;
                let launches: Vec<_> = (0..40).map(|i| LAUNCHES[i % 4] * rows).collect();
                let most = run(&mut pace, &launches, speed).into_iter().fold(0.0, f64::max);
                // One launch is not parted.
                let heaviest = (LAUNCHES[3] * rows) as f64 / speed;
                assert!(most <= heaviest.max(101.0), "run {run_of} at {speed}: {most} ms");
                assert!(most < 1000.0, "run {run_of} at {speed}: {most} ms");
            }
        }
    }

    #[test]
    fn a_fast_device_gets_all_at_once() {
        let mut pace = Pace::new(Some(|| TIME.get()), None);
        let launches: Vec<_> = (0..12).map(|i| 16 * LAUNCHES[i % 4]).collect();
        assert!(run(&mut pace, &launches, 2e10).len() > 1, "it is careful at first");
        assert_eq!(run(&mut pace, &launches, 2e10).len(), 1);
        assert_eq!(pace.rows(1_000_000_000, 128), 128);
    }

    #[test]
    fn rows_are_a_power_of_two_that_the_same_kernels_compute() {
        let pace = Pace::new(None, None);
        let rows = [1, 30_000_000, 60_000_000, usize::MAX].map(|per_row| pace.rows(per_row, 128));
        assert_eq!(rows, [128, 64, 32, 16]);
        assert_eq!(pace.rows(1, 8), 8);
    }

    #[test]
    fn a_short_wait_says_no_more_than_that_a_device_is_not_slower() {
        let mut pace = Pace::new(Some(|| TIME.get()), None);
        run(&mut pace, &[1_000_000_000_000], 1e10);
        run(&mut pace, &[10_000], 1e3);
        run(&mut pace, &[500_000_000], 1e5);
        assert!(pace.takes(1, 900_000_000_000));
    }

    #[test]
    fn what_is_given_meanwhile_is_timed_by_itself() {
        TIME.set(0.0);
        let mut pace = Pace::new(Some(|| TIME.get()), None);
        let first = pace.submitted(40_000_000_000);
        let second = pace.submitted(80_000_000_000);
        TIME.set(100.0);
        assert_eq!(pace.done(first), 100.0);
        TIME.set(300.0);
        assert_eq!(pace.done(second), 200.0);
        assert_eq!(pace.rows(1_000_000_000, 999), 128, "both at the speed of 4e8 a ms");
        TIME.set(1000.0);
        let third = pace.submitted(40_000_000_000);
        TIME.set(1100.0);
        assert_eq!(pace.done(third), 100.0, "it was idle before");
    }

    #[test]
    fn a_block_is_longer_where_waiting_is_slow() {
        let steps = |one: f64, few: f64| {
            let mut pace = Pace::new(None, None);
            assert_eq!(pace.steps(8, 32), 8, "as long as nothing is known");
            pace.drawn(1, one + 500.0);
            [(1, one), (2, 9e9), (4, few)].into_iter().for_each(|(steps, took)| pace.drawn(steps, took));
            pace.steps(8, 32)
        };
        // 100 ms a wait, whatever is drawn; 60 ms a token; both little.
        assert_eq!([steps(100.0, 101.0), steps(60.0, 240.0), steps(6.0, 6.1)], [32, 8, 8]);
        assert_eq!([steps(104.0, 116.0), steps(110.0, 140.0)], [32, 16]);
        // A clock that stands still.
        assert_eq!(steps(0.0, 0.0), 8);
    }
}
