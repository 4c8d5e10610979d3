//! Looks at passing events for a lock wait that is longer than a threshold.

use crate::control::Control;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trace_formats::ring_buffer::{Page, PageLayout};

/// Tasks whose waits are known; more than this is another trace's business.
const MOST_WAITS: usize = 1 << 16;

/// The numbers of the two events that bound a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitEvents {
    pub begin: u16,
    pub end: u16,
}

/// Knows who waits since when.
#[derive(Debug)]
pub(crate) struct Watch {
    events: WaitEvents,
    threshold_ns: u64,
    waits: Mutex<Waits>,
    found: Mutex<Vec<String>>,
}

/// Buffers of different CPUs are read one after the other, so an end may be seen before its begin.
#[derive(Debug, Default)]
struct Waits {
    begins: HashMap<Wait, u64>,
    ends: HashMap<Wait, u64>,
}

/// Interrupts of a waiting task wait for spinlocks in its name, so the lock belongs to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wait {
    tid: u64,
    lock: u64,
}

impl Watch {
    pub(crate) fn new(events: WaitEvents, threshold: Duration) -> Self {
        let threshold_ns = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        Self { events, threshold_ns, waits: Mutex::default(), found: Mutex::default() }
    }

    /// Looks through a page of a tracefs buffer.
    pub(crate) fn page(&self, page: &[u8]) {
        let Some(page) = Page::open(page, &PageLayout::of_64_bit()) else { return };
        for record in page {
            self.record(record.at, record.data);
        }
    }

    /// Looks at one record: number and task stand at the same place in all of them, the lock in
    /// both of these.
    pub(crate) fn record(&self, at: u64, record: &[u8]) {
        let number = |at: usize, size: usize| {
            let bytes = record.get(at..at + size)?;
            Some(bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        };
        let kind = number(0, 2).and_then(|kind| u16::try_from(kind).ok()).unwrap_or(0);
        if kind != self.events.begin && kind != self.events.end {
            return;
        }
        let (Some(tid), Some(lock)) = (number(4, 4), number(8, 8)) else { return };
        if let Some(waited) = self.observe(kind, Wait { tid, lock }, at) {
            let text = format!("task {tid} waited {:.3} ms for a lock", ms(waited));
            self.found.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    /// Orders a dump for the waits that were found; call it when they are in memory.
    pub(crate) fn report(&self, control: &Control) {
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        found.into_iter().for_each(|wait| control.dump(wait));
    }

    /// Takes in a begin or an end; returns the wait when it is over and was too long.
    fn observe(&self, kind: u16, wait: Wait, at: u64) -> Option<u64> {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let Waits { begins, ends } = &mut *waits;
        let waited = if kind == self.events.begin {
            match ends.remove(&wait).filter(|end| *end >= at) {
                Some(end) => Some(end - at),
                None => {
                    // A waiter may begin several times before it gets the lock: the first counts.
                    begins.entry(wait).or_insert(at);
                    None
                }
            }
        } else {
            match begins.remove(&wait).filter(|begin| *begin <= at) {
                Some(begin) => Some(at - begin),
                None => {
                    ends.insert(wait, at);
                    None
                }
            }
        };
        for side in [begins, ends] {
            if side.len() > MOST_WAITS {
                side.clear();
            }
        }
        waited.filter(|waited| *waited > self.threshold_ns)
    }
}

/// The locks that are waited for, whose names the sidecar tells where the kernel has any.
#[derive(Debug)]
pub(crate) struct LocksSeen {
    begin: Option<u16>,
    pub locks: HashSet<u64>,
}

impl LocksSeen {
    pub(crate) fn new(events: Option<WaitEvents>) -> Self {
        Self { begin: events.map(|events| events.begin), locks: HashSet::new() }
    }

    /// Looks through a page of a tracefs buffer.
    pub(crate) fn page(&mut self, page: &[u8]) {
        let Some(page) = Page::open(page, &PageLayout::of_64_bit()) else { return };
        page.for_each(|record| self.record(record.data));
    }

    /// Looks at one record.
    pub(crate) fn record(&mut self, record: &[u8]) {
        let kind = record.first_chunk::<2>().map(|kind| u16::from_le_bytes(*kind));
        if kind.is_some()
            && kind == self.begin
            && let Some(lock) = record.get(8..16).and_then(|lock| lock.try_into().ok())
        {
            self.locks.insert(u64::from_le_bytes(lock));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "printed with three digits")]
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_from_its_first_begin_to_its_end_in_whatever_order_they_come() {
        let watch = Watch::new(WaitEvents { begin: 1, end: 2 }, Duration::from_nanos(50));
        let wait = |tid| Wait { tid, lock: 1 };
        assert_eq!(watch.observe(1, wait(7), 100), None);
        assert_eq!(watch.observe(1, wait(7), 140), None);
        assert_eq!(watch.observe(2, wait(7), 151), Some(51));
        assert_eq!(watch.observe(2, wait(8), 300), None);
        assert_eq!(watch.observe(1, wait(8), 200), Some(100));
        assert_eq!(watch.observe(1, wait(9), 400), None);
        assert_eq!(watch.observe(2, wait(9), 450), None);
        assert_eq!(watch.observe(1, wait(5), 500), None);
        assert_eq!(watch.observe(2, Wait { tid: 5, lock: 2 }, 590), None);
        assert_eq!(watch.observe(2, wait(5), 600), Some(100));
    }
}
