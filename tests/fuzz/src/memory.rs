//! An allocator that counts: what a parser takes for an input is bounded.
//! Not a leak check.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes that a parser may take whatever its input is.
const FLOOR: usize = 64 << 20;
/// Bytes that it may take for each byte of its input, besides.
const PER_BYTE: usize = 4;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call is the system allocator's; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(old, layout) }
    }
}

/// Runs `parse`, which must take no more than 4 bytes for each byte of `input` and 64 MiB.
///
/// Panics if it takes more.
pub(crate) fn bounded(input: &[u8], parse: impl FnOnce()) {
    let before = NOW.get();
    PEAK.set(before);
    parse();
    let taken = (PEAK.get() - before) as usize;
    let most = PER_BYTE * input.len() + FLOOR;
    assert!(
        taken <= most,
        "{taken} bytes of memory for an input of {}, expected at most {most}",
        input.len()
    );
}
