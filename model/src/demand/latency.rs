//! How long the recorded kernel took from a cause to the switch it led to.

use super::Latencies;
use crate::{CpuId, Event, LockFlags, Names, Nanos, SchedEvent, Tid};
use std::collections::BTreeMap;

/// Longer spans are waits, not the kernel's own work.
const LONGEST_NS: u64 = 200_000;

/// A CPU that has been idle for this long counts as in a deep idle state: residencies from which
/// those pay are some tenths of a millisecond on current machines.
pub const DEEP_NS: u64 = 500_000;

/// What led to a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchCause {
    /// A wakeup onto a busy CPU, of the task that runs next.
    Wakeup,
    /// A wakeup onto an idle CPU.
    WakeupIdle,
    /// A wakeup onto a CPU that had been idle for [`DEEP_NS`] or longer.
    WakeupDeep,
    /// The timer that ends a slice.
    SliceEnd,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    running: Option<Tid>,
    woken: Option<(Tid, u64)>,
    /// When it went idle, and when it was woken from that.
    idle_from: Option<u64>,
    idle_woken: Option<u64>,
    slice_timer: Option<u64>,
}

/// Follows a recording and says at each switch what led to it, and how long that took.
#[derive(Clone, Debug)]
pub struct SwitchCauses<'n> {
    names: &'n Names,
    cpus: BTreeMap<CpuId, Cpu>,
    waking: BTreeMap<Tid, u64>,
}

impl<'n> SwitchCauses<'n> {
    /// Starts at the beginning of a recording with these names.
    #[must_use]
    pub fn new(names: &'n Names) -> Self {
        Self { names, cpus: BTreeMap::new(), waking: BTreeMap::new() }
    }

    /// Takes the next event: at a switch whose cause is known, the cause and the time since.
    ///
    /// A wakeup is the cause when the woken task runs next. A span of 0.2 ms or more is a wait
    /// and has no cause here.
    pub fn observe(&mut self, event: &Event) -> Option<(SwitchCause, Nanos)> {
        match event.kind {
            SchedEvent::Waking(w) => {
                self.waking.insert(w.tid, event.at.0);
            }
            SchedEvent::Wakeup(w) => {
                let at = self.waking.get(&w.tid).copied().unwrap_or(event.at.0);
                let cpu = self.cpus.entry(w.target_cpu).or_default();
                if cpu.running == Some(Tid::IDLE) {
                    cpu.idle_woken.get_or_insert(at);
                } else {
                    cpu.woken = Some((w.tid, at));
                }
            }
            SchedEvent::HrtimerStart { function, expires_ns, .. }
                if self.names.text(function) == "hrtick" =>
            {
                let cpu = self.cpus.entry(event.cpu).or_default();
                cpu.slice_timer = u64::try_from(expires_ns).ok();
            }
            SchedEvent::Switch { prev_prio, next, next_prio, .. } => {
                // An equally urgent realtime task does not preempt: the other one has yielded.
                let preempts = !super::yields::has_yielded(prev_prio, next_prio);
                return self.switch(event, next).filter(|_| preempts);
            }
            _ => {}
        }
        None
    }

    fn switch(&mut self, event: &Event, next: Tid) -> Option<(SwitchCause, Nanos)> {
        let cpu = self.cpus.entry(event.cpu).or_default();
        let idle_from = (next == Tid::IDLE).then_some(event.at.0);
        let now = Cpu { running: Some(next), idle_from, ..Cpu::default() };
        let was = std::mem::replace(cpu, now);
        let woken = was.woken.filter(|(tid, _)| *tid == next);
        let (cause, since) = if let Some(since) = was.idle_woken {
            let is_deep = was.idle_from.is_some_and(|from| from.saturating_add(DEEP_NS) <= since);
            (if is_deep { SwitchCause::WakeupDeep } else { SwitchCause::WakeupIdle }, since)
        } else if let Some((_, since)) = woken {
            (SwitchCause::Wakeup, since)
        } else {
            (SwitchCause::SliceEnd, was.slice_timer.filter(|expiry| *expiry <= event.at.0)?)
        };
        let span = event.at.0.checked_sub(since).filter(|span| *span < LONGEST_NS)?;
        Some((cause, Nanos(span)))
    }
}

/// Spans from each cause to its switch, while a recording is walked; only switches away from
/// runnable tasks count.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    busy: Vec<Nanos>,
    idle: Vec<Nanos>,
    deep: Vec<Nanos>,
    slice: Vec<Nanos>,
    lock: LockSpans,
}

impl Spans {
    /// What mutexes take on the way to sleep and back.
    pub(super) fn observe_locks(&mut self, event: &Event) {
        self.lock.observe(event);
    }

    pub(super) fn observe(&mut self, event: &Event, (cause, span): (SwitchCause, Nanos)) {
        let SchedEvent::Switch { prev_state, .. } = event.kind else { return };
        if prev_state.is_runnable() {
            match cause {
                SwitchCause::Wakeup => self.busy.push(span),
                SwitchCause::WakeupIdle => self.idle.push(span),
                SwitchCause::WakeupDeep => self.deep.push(span),
                SwitchCause::SliceEnd => self.slice.push(span),
            }
        }
    }

    /// The medians; on a machine of one CPU, where nobody spins, the means of what mutexes take.
    ///
    /// A recorder that takes a call chain at some waits makes those ten times as long: their median
    /// does not say what all of them took.
    pub(super) fn finish(mut self, n_cpus: usize) -> Latencies {
        // One kind alone stands for both.
        if self.idle.is_empty() {
            self.idle.clone_from(&self.deep);
        } else if self.deep.is_empty() {
            self.deep.clone_from(&self.idle);
        }
        Latencies {
            wake_busy: median(self.busy),
            wake_idle: median(self.idle),
            wake_deep: median(self.deep),
            slice_end: median(self.slice),
            lock_contended: if n_cpus == 1 {
                mean(&self.lock.at_once)
            } else {
                low(self.lock.at_once)
            },
            lock_sleep: if n_cpus == 1 {
                mean(&self.lock.all_to_sleep)
            } else {
                median(self.lock.to_sleep)
            },
            lock_wake: median(self.lock.back),
            ..Latencies::default()
        }
    }
}

/// Spans of CPU time in the code of mutexes, of tasks that sleep for them.
#[derive(Clone, Debug, Default)]
struct LockSpans {
    /// Of tasks that wait for a mutex: when they last looked at it, or came back to a CPU.
    waiting: BTreeMap<Tid, Waiting>,
    to_sleep: Vec<Nanos>,
    /// The same from the first look on.
    all_to_sleep: Vec<Nanos>,
    back: Vec<Nanos>,
    /// From the first look to having it, without sleep.
    at_once: Vec<Nanos>,
}

#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// It has just come, and spins.
    Came(u64),
    /// It came then, looked again, and is about to sleep.
    Looked {
        came: u64,
        at: u64,
    },
    Asleep,
    Back(u64),
}

impl LockSpans {
    fn observe(&mut self, event: &Event) {
        let at = event.at.0;
        let span = |since: u64| at.checked_sub(since).filter(|span| *span < LONGEST_NS).map(Nanos);
        match event.kind {
            SchedEvent::ContentionBegin { flags, .. } if flags.has(LockFlags::MUTEX) => {
                // A spinner has not decided to sleep yet.
                if flags.has(LockFlags::SPIN) {
                    self.waiting.insert(event.tid, Waiting::Came(at));
                } else {
                    let came = match self.waiting.get(&event.tid) {
                        Some(Waiting::Came(came)) => *came,
                        _ => at,
                    };
                    self.waiting.insert(event.tid, Waiting::Looked { came, at });
                }
            }
            SchedEvent::ContentionEnd { .. } => match self.waiting.remove(&event.tid) {
                Some(Waiting::Back(since)) => self.back.extend(span(since)),
                Some(Waiting::Came(since)) => self.at_once.extend(span(since)),
                Some(Waiting::Looked { .. } | Waiting::Asleep) | None => {}
            },
            SchedEvent::Switch { prev, prev_state, next, .. } => {
                match (self.waiting.get(&prev), prev_state.is_runnable()) {
                    (Some(Waiting::Looked { came, at: looked }), false) => {
                        self.to_sleep.extend(span(*looked));
                        self.all_to_sleep.extend(span(*came));
                        self.waiting.insert(prev, Waiting::Asleep);
                    }
                    (Some(_), false) => {
                        self.waiting.insert(prev, Waiting::Asleep);
                    }
                    // Preempted on its way to sleep; anywhere else, its times say nothing.
                    (Some(Waiting::Looked { .. }) | None, true) | (None, false) => {}
                    (Some(_), true) => {
                        self.waiting.remove(&prev);
                    }
                }
                if let Some(waiting @ Waiting::Asleep) = self.waiting.get_mut(&next) {
                    *waiting = Waiting::Back(at);
                }
            }
            _ => {}
        }
    }
}

/// The tenth percentile: what a spinner takes that has nobody to wait for.
fn low(mut spans: Vec<Nanos>) -> Nanos {
    spans.sort_unstable();
    spans.get(spans.len() / 10).copied().unwrap_or_default()
}

fn mean(spans: &[Nanos]) -> Nanos {
    let sum: u64 = spans.iter().map(|span| span.0).sum();
    Nanos(sum.checked_div(spans.len() as u64).unwrap_or(0))
}

fn median(mut spans: Vec<Nanos>) -> Nanos {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}
