//! What waiting for a buffer, and ending such a wait, take beside moving the bytes.

use super::Latencies;
use crate::{BufferId, Context, Event, Nanos, SchedEvent, Tid, Transfer};
use std::collections::BTreeMap;

/// Fewer calls of a kind say nothing.
const FEWEST: usize = 10;
/// So many of a kind are enough.
const MOST: usize = 20_000;

/// A call while it is going on.
#[derive(Clone, Copy, Debug)]
struct Open {
    buffer: BufferId,
    way: Transfer,
    /// CPU time so far, and since when it has been on a CPU.
    spent: u64,
    on_cpu: Option<u64>,
    /// CPU time up to its sleep.
    to_sleep: Option<u64>,
    sleeps: u32,
    tells: u32,
    to_wakeup: Option<u64>,
    /// It waited for a mutex, whose costs are others.
    contends: bool,
}

/// Where the section of a buffer's mutex lies in a call, CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OfSection {
    /// From the call's beginning to the mutex.
    pub(crate) enter: Nanos,
    /// From its release to the call's end.
    pub(crate) exit: Nanos,
}

/// CPU time of calls of one kind, ns.
#[derive(Debug, Default)]
struct OfKind {
    plain: Vec<u64>,
    /// Up to the sleep, and behind it.
    slept: Vec<(u64, u64)>,
    told: Vec<u64>,
    /// From the beginning to the first wakeup, without a wait for the mutex.
    to_wakeup: Vec<u64>,
}

/// Compares calls that move as many bytes the same way: those that wait, and those that wake
/// somebody, with those that do neither.
#[derive(Debug, Default)]
pub(crate) struct TransferCosts {
    open: BTreeMap<Tid, Open>,
    kinds: BTreeMap<(bool, i32), OfKind>,
    /// From the beginning of a call to its wait for the mutex.
    to_mutex: Vec<u64>,
}

impl Open {
    /// CPU time at a moment on a CPU.
    fn spent_at(&self, at: u64) -> Option<u64> {
        Some(self.spent + at.saturating_sub(self.on_cpu?))
    }
}

impl TransferCosts {
    /// Takes the next event.
    pub(crate) fn observe(&mut self, event: &Event) {
        let at = event.at.0;
        match event.kind {
            SchedEvent::TransferBegin { buffer, way, .. } => {
                let open = Open {
                    buffer,
                    way,
                    spent: 0,
                    on_cpu: Some(at),
                    to_sleep: None,
                    sleeps: 0,
                    tells: 0,
                    to_wakeup: None,
                    contends: false,
                };
                self.open.insert(event.tid, open);
            }
            SchedEvent::TransferEnd { ret, .. } => {
                if let Some(open) = self.open.remove(&event.tid) {
                    self.close(open, at, ret);
                }
            }
            _ if self.open.is_empty() => {}
            SchedEvent::ContentionBegin { .. } => {
                if let Some(open) = self.open.get_mut(&event.tid) {
                    let is_first = !open.contends && open.sleeps == 0 && open.tells == 0;
                    open.contends = true;
                    if is_first && self.to_mutex.len() < MOST {
                        self.to_mutex.extend(open.spent_at(at));
                    }
                }
            }
            SchedEvent::Waking(woken) if event.context == Context::Task => {
                let woken = self.open.get(&woken.tid).map(|open| open.buffer);
                if let Some(open) = self.open.get_mut(&event.tid) {
                    let tells = woken == Some(open.buffer);
                    let is_first = !open.contends && open.sleeps == 0 && open.tells == 0;
                    open.tells += u32::from(tells);
                    if tells && is_first {
                        open.to_wakeup = open.spent_at(at);
                    }
                }
            }
            SchedEvent::Switch { prev, prev_state, next, .. } => {
                if let Some(open) = self.open.get_mut(&prev) {
                    open.spent += open.on_cpu.take().map_or(0, |since| at.saturating_sub(since));
                    if !prev_state.is_runnable() {
                        open.sleeps += 1;
                        open.to_sleep.get_or_insert(open.spent);
                    }
                }
                if let Some(open) = self.open.get_mut(&next) {
                    open.on_cpu = Some(at);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, open: Open, at: u64, ret: i32) {
        let Some(since) = open.on_cpu.filter(|_| ret > 0 && !open.contends) else { return };
        let spent = open.spent + at.saturating_sub(since);
        let kind = self.kinds.entry((open.way == Transfer::Put, ret)).or_default();
        match (open.sleeps, open.tells) {
            (0, 0) if kind.plain.len() < MOST => kind.plain.push(spent),
            (0, 1) if kind.told.len() < MOST => {
                kind.told.push(spent);
                kind.to_wakeup.extend(open.to_wakeup);
            }
            (1, 0) if kind.slept.len() < MOST => {
                let before = open.to_sleep.unwrap_or(0).min(spent);
                kind.slept.push((before, spent - before));
            }
            _ => {}
        }
    }

    /// Sets the medians of the three, where there are enough calls of a kind without either to compare with.
    pub(crate) fn finish(mut self, latencies: &mut Latencies) -> OfSection {
        self.to_mutex.sort_unstable();
        // Who comes first has nothing else to wait for.
        let soonest = self.to_mutex.get(self.to_mutex.len() / 10).copied().unwrap_or(0);
        let [mut sleep, mut wake, mut tell, mut exit] = [const { Vec::new() }; 4];
        for kind in self.kinds.into_values() {
            if kind.plain.len() < FEWEST {
                continue;
            }
            let plain = median(kind.plain);
            exit.extend(kind.to_wakeup.into_iter().map(|until| plain.saturating_sub(until)));
            for (before, behind) in kind.slept {
                sleep.push(before);
                wake.push(behind.saturating_sub(plain));
            }
            tell.extend(kind.told.into_iter().map(|spent| spent.saturating_sub(plain)));
        }
        let of = |spans: Vec<u64>| Nanos(if spans.len() < FEWEST { 0 } else { median(spans) });
        latencies.buffer_sleep = of(sleep);
        latencies.buffer_wake = of(wake);
        latencies.buffer_tell = of(tell);
        OfSection { enter: Nanos(soonest), exit: of(exit) }
    }
}

fn median(mut spans: Vec<u64>) -> u64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or(0)
}
