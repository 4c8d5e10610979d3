//! How long the recorded kernel took from a cause to the switch it led to.

use super::Latencies;
use crate::{CpuId, Event, Names, Nanos, SchedEvent, Tid};
use std::collections::BTreeMap;

/// Longer spans are waits, not the kernel's own work.
const LONGEST_NS: u64 = 200_000;

#[derive(Default)]
struct Cpu {
    running: Option<Tid>,
    /// Latest wakeup that targets this CPU and what it found there.
    woken: Option<(Tid, u64, bool)>,
    slice_timer: Option<u64>,
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
                let was_idle = cpu.running == Some(Tid::IDLE);
                cpu.woken = match cpu.woken {
                    // Several wakeups before one switch: the first is the cause.
                    Some(first) if was_idle => Some((w.tid, first.1, true)),
                    _ => Some((w.tid, at, was_idle)),
                };
            }
            SchedEvent::HrtimerStart { function, expires_ns, .. } => {
                if names.text(function) == "hrtick" {
                    cpus.entry(event.cpu).or_default().slice_timer = u64::try_from(expires_ns).ok();
                }
            }
            SchedEvent::Switch { prev_state, next, .. } => {
                let cpu = cpus.entry(event.cpu).or_default();
                if let Some((tid, at, was_idle)) = cpu.woken.take() {
                    let span = event.at.0.saturating_sub(at);
                    let caused = next == tid && span < LONGEST_NS;
                    if caused && was_idle {
                        idle.push(span);
                    } else if caused && prev_state.is_runnable() {
                        busy.push(span);
                    }
                } else if let Some(expiry) = cpu.slice_timer
                    && prev_state.is_runnable()
                    && (expiry..expiry + LONGEST_NS).contains(&event.at.0)
                {
                    slice.push(event.at.0 - expiry);
                }
                cpu.slice_timer = None;
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
