//! How long the recorded kernel took from a cause to the switch it led to.

use super::Latencies;
use crate::{CpuId, Event, Names, Nanos, SchedEvent, Tid};
use std::collections::BTreeMap;

/// Longer spans are waits, not the kernel's own work.
const LONGEST_NS: u64 = 200_000;

/// What may have caused the next switch of one CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cause {
    woken: Option<(Tid, u64)>,
    slice_timer: Option<u64>,
}

impl Cause {
    /// `tid` was woken onto this CPU, by a waking at `at`.
    pub(super) fn woke(&mut self, tid: Tid, at: u64) {
        self.woken = Some((tid, at));
    }

    /// A precise slice end was armed.
    pub(super) fn slice_timer(&mut self, expires_ns: i64) {
        self.slice_timer = u64::try_from(expires_ns).ok();
    }

    /// Ends at a switch to `next`: the time since its cause, zero when that is not known.
    pub(super) fn overhead(&mut self, at: u64, next: Tid) -> u64 {
        let cause = std::mem::take(self);
        let woken = cause.woken.filter(|(tid, _)| *tid == next).map(|(_, since)| since);
        let since = woken.or(cause.slice_timer.filter(|expiry| *expiry <= at));
        since.map(|since| at.saturating_sub(since)).filter(|span| *span < LONGEST_NS).unwrap_or(0)
    }
}

#[derive(Default)]
struct Cpu {
    running: Option<Tid>,
    cause: Cause,
    /// First wakeup onto this CPU while it was idle.
    idle_since: Option<u64>,
}

/// Measures the medians over a recording.
///
/// A wakeup counts when the woken task is the next to run on its CPU and, on a
/// busy CPU, takes it from a task that was still runnable.
pub(super) fn measure(events: &[Event], names: &Names) -> Latencies {
    let mut cpus: BTreeMap<CpuId, Cpu> = BTreeMap::new();
    let mut waking: BTreeMap<Tid, u64> = BTreeMap::new();
    let (mut busy, mut idle, mut slice) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match event.kind {
            SchedEvent::Waking(w) => {
                waking.insert(w.tid, event.at.0);
            }
            SchedEvent::Wakeup(w) => {
                let at = waking.get(&w.tid).copied().unwrap_or(event.at.0);
                let cpu = cpus.entry(w.target_cpu).or_default();
                if cpu.running == Some(Tid::IDLE) {
                    cpu.idle_since.get_or_insert(at);
                } else {
                    cpu.cause.woke(w.tid, at);
                }
            }
            SchedEvent::HrtimerStart { function, expires_ns, .. }
                if names.text(function) == "hrtick" =>
            {
                cpus.entry(event.cpu).or_default().cause.slice_timer(expires_ns);
            }
            SchedEvent::Switch { prev_state, next, .. } => {
                let cpu = cpus.entry(event.cpu).or_default();
                if let Some(since) = cpu.idle_since.take() {
                    idle.push(event.at.0.saturating_sub(since));
                }
                let woken = cpu.cause.woken.is_some_and(|(tid, _)| tid == next);
                let span = cpu.cause.overhead(event.at.0, next);
                if span > 0 && prev_state.is_runnable() {
                    if woken { busy.push(span) } else { slice.push(span) }
                }
                cpu.running = Some(next);
            }
            _ => {}
        }
    }
    Latencies { wake_busy: median(busy), wake_idle: median(idle), slice_end: median(slice) }
}

fn median(mut spans: Vec<u64>) -> Nanos {
    spans.sort_unstable();
    Nanos(spans.get(spans.len() / 2).copied().unwrap_or(0))
}
