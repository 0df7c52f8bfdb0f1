//! What work costs: bytes allocated, and the processor time of this thread, which other work on the machine does not lengthen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes ever allocated, bytes that are now, and the most there were at once.
static ALL: AtomicUsize = AtomicUsize::new(0);
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work, with the arguments as they came; beside it only numbers change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is the system's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, both are there.
        taken(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn taken(size: usize) {
    ALL.fetch_add(size, Relaxed);
    MOST.fetch_max(NOW.fetch_add(size, Relaxed) + size, Relaxed);
}

/// What something has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Bytes allocated, those that were freed again included.
    pub(crate) allocated: usize,
    /// The most bytes at once.
    pub(crate) peak: usize,
    pub(crate) time: Duration,
}

/// What `work` costs. Time is the least of up to three runs where the first takes longer than `patience`.
pub(crate) fn measure<T>(patience: Duration, mut work: impl FnMut() -> T) -> Cost {
    let mut cost = once(&mut work);
    for _ in 0..2 {
        if cost.time > patience {
            cost.time = cost.time.min(once(&mut work).time);
        }
    }
    cost
}

fn once<T>(work: &mut impl FnMut() -> T) -> Cost {
    let (all, before) = (ALL.load(Relaxed), NOW.load(Relaxed));
    MOST.store(before, Relaxed);
    let begin = thread_time();
    let result = work();
    let time = thread_time().saturating_sub(begin);
    let cost = Cost { allocated: ALL.load(Relaxed) - all, peak: MOST.load(Relaxed).saturating_sub(before), time };
    drop(result);
    cost
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into a value of its type, which lives until it returns.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "there is no clock of this thread");
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
