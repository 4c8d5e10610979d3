//! What it takes to read a recording, to walk over it, and to ask for a demand once more.
//!
//! `cargo xtask bench model` runs it with recordings by name.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its arguments")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first fault")]
#![expect(unsafe_code, reason = "an allocator that counts is an allocator")]

use model::demand::{Choices, Cover};
use model::{History, Host};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Each step is done so often; the median time counts.
const RUNS: usize = 5;

/// Bytes that are allocated now, and were at most.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn grow(by: usize) {
        let held = HELD.fetch_add(by, Relaxed) + by;
        PEAK.fetch_max(held, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Relaxed);
        Self::grow(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Does a step and prints what it took, for each of the events that `events` counts.
fn measure<R>(
    name: &str,
    passes: &str,
    events: impl FnOnce(&R) -> usize,
    step: impl Fn() -> R,
) -> R {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let timed = || {
        let start = Instant::now();
        let result = black_box(step());
        (start.elapsed().as_secs_f64(), result)
    };
    let (seconds, result) = timed();
    let (peak, held) = (PEAK.load(Relaxed) - before, HELD.load(Relaxed) - before);
    let mut times = vec![seconds];
    times.extend((1..RUNS).map(|_| timed().0));
    times.sort_by(f64::total_cmp);
    let (seconds, n) = (times[RUNS / 2], events(&result).max(1) as f64);
    println!(
        "  {name:<16} {seconds:7.3} s {:8.2} M events/s {:6.1} bytes/event at most {:6.1} kept  \
         {passes}",
        n / seconds / 1e6,
        peak as f64 / n,
        held as f64 / n,
    );
    result
}

fn main() {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).unwrap();
        let host = std::fs::read_to_string(format!("{path}.host.json")).ok();
        let host = host.map(|text| Host::from_json(&text).unwrap());
        println!("{}", path.rsplit('/').next().unwrap_or(&path));
        let read = || trace_formats::read(&bytes).unwrap();
        let recording = measure("read the file", "makes the events", |r| r.events.len(), read);
        let n = recording.events.len();
        let walk = || History::read(&recording, host.as_ref(), Cover::default());
        let passes = "looks at each event twice: a survey, a walk";
        let history = measure("History::read", passes, |_| n, walk);
        let demand = || history.demand(Choices::default());
        measure("History::demand", "looks at no event", |_| n, demand);
        println!("  {n} events");
    }
}
