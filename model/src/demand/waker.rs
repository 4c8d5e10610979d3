//! Whether a task or an interrupt woke somebody, where the recording does not say in which context
//! it was.
//!
//! Text without flag columns has wakeups and the task that was running meanwhile. A timer that
//! expires finds whoever happens to run, the idle task among them, each as often as it runs. A
//! task that wakes another one is found more often, and the idle task never.

use super::sleep::{TimerSleep, periodic};
use crate::{Context, CpuId, Event, NameId, SchedEvent, Tid};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer wakeups than this say nothing about who ends a task's sleeps.
const FEWEST: u32 = 5;
/// The idle task must be expected this often before its absence says something.
const FEWEST_IDLE: u32 = 4;
/// Of the wakeups that are expected in idle time so many percent, at least, show interrupts.
const IDLE_PERCENT: u64 = 40;
/// A task that wakes is found more often than by chance: so many times, and so often more.
const BY_CHANCE: u64 = 2;
const BY_CHANCE_MORE: u64 = 4;
/// Tasks of one name that are there at so many percent of the wakeups are no chance.
const ALONE_PERCENT: u64 = 90;
/// So many sleeps of a task show whether they are regular.
const MOST_SLEEPS: usize = 64;
/// So many percent of regular sleeps are as long as the median, to two percent and 0.1 ms.
const REGULAR_PERCENT: usize = 70;
const SLACK_NS: u64 = 100_000;

/// The wakeups of one task.
#[derive(Debug, Default)]
struct Wakee {
    asleep_since: Option<u64>,
    is_contending: bool,
    /// By the CPU of the event.
    by_cpu: BTreeMap<CpuId, OnCpu>,
    /// By the name of the task that was running.
    by_waker: BTreeMap<NameId, u32>,
    idle: u32,
    sleeps: Vec<TimerSleep>,
}

/// The wakeups of one task on one CPU, and how much time that CPU had had at the first and at the
/// last of them.
#[derive(Clone, Copy, Debug)]
struct OnCpu {
    n: u32,
    first: Spent,
    last: Spent,
}

/// Time of a CPU, of which so much was idle.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    all: u64,
    idle: u64,
}

/// Counts wakeups and who was running, while a recording is surveyed.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    running: BTreeMap<CpuId, (Tid, NameId, u64)>,
    /// CPU time by the name of the task; the idle task has a name of its own.
    by_name: BTreeMap<(CpuId, Option<NameId>), u64>,
    by_task: BTreeMap<(CpuId, Tid), u64>,
    spent: BTreeMap<CpuId, Spent>,
    wakees: BTreeMap<Tid, Wakee>,
    has_unknown: bool,
}

impl Wakers {
    /// Takes the next event.
    pub(crate) fn observe(&mut self, e: &Event) {
        match e.kind {
            SchedEvent::Switch { prev, prev_state, next, next_comm, .. } => {
                let at = e.at.0;
                if let Some((tid, name, since)) = self.running.insert(e.cpu, (next, next_comm, at))
                {
                    let span = at.saturating_sub(since);
                    let name = Some(name).filter(|_| tid != Tid::IDLE);
                    *self.by_name.entry((e.cpu, name)).or_default() += span;
                    *self.by_task.entry((e.cpu, tid)).or_default() += span;
                    let spent = self.spent.entry(e.cpu).or_default();
                    spent.all += span;
                    spent.idle += if tid == Tid::IDLE { span } else { 0 };
                }
                if !prev_state.is_runnable() && prev != Tid::IDLE {
                    self.wakees.entry(prev).or_default().asleep_since = Some(at);
                }
            }
            SchedEvent::ContentionBegin { .. } => {
                self.wakees.entry(e.tid).or_default().is_contending = true;
            }
            SchedEvent::ContentionEnd { .. } => {
                self.wakees.entry(e.tid).or_default().is_contending = false;
            }
            SchedEvent::Waking(w) => self.waking(e, w.tid),
            _ => {}
        }
    }

    fn waking(&mut self, e: &Event, tid: Tid) {
        self.has_unknown |= e.context == Context::Unknown;
        let waker = self.running.get(&e.cpu).map(|(tid, name, _)| (*tid, *name));
        let wakee = self.wakees.entry(tid).or_default();
        let (Some((waker, name)), Some(since)) = (waker, wakee.asleep_since.take()) else { return };
        if wakee.is_contending {
            return;
        }
        let spent = self.spent.get(&e.cpu).copied().unwrap_or_default();
        let new = || OnCpu { n: 0, first: spent, last: spent };
        let on_cpu = wakee.by_cpu.entry(e.cpu).or_insert_with(new);
        on_cpu.n += 1;
        on_cpu.last = spent;
        if waker == Tid::IDLE {
            wakee.idle += 1;
        } else {
            *wakee.by_waker.entry(name).or_default() += 1;
        }
        if wakee.sleeps.len() < MOST_SLEEPS {
            wakee.sleeps.push(TimerSleep {
                step: 0,
                since,
                woken: e.at.0,
                expiry: None,
                by_softirq: false,
            });
        }
    }

    /// Which names wake which tasks by chance only: the wakeup is an interrupt's.
    pub(crate) fn finish(self) -> Interrupts {
        let mut by_chance = BTreeSet::new();
        if !self.has_unknown {
            return Interrupts { by_chance };
        }
        for (tid, wakee) in &self.wakees {
            let n: u32 = wakee.by_cpu.values().map(|on| on.n).sum();
            if n < FEWEST {
                continue;
            }
            // How often somebody is expected to run when `tid` is woken by chance, between the first
            // and the last time that it is.
            let expected = |name: Option<NameId>| -> u64 {
                let on_cpu = |(cpu, on): (&CpuId, &OnCpu)| {
                    let own = self.by_task.get(&(*cpu, *tid)).copied().unwrap_or(0);
                    let all = (on.last.all - on.first.all).saturating_sub(own).max(1);
                    let span = match name {
                        None => on.last.idle - on.first.idle,
                        name => self.by_name.get(&(*cpu, name)).copied().unwrap_or(0),
                    };
                    let times = u128::from(on.n) * u128::from(span.min(all)) / u128::from(all);
                    u64::try_from(times).unwrap_or(u64::MAX)
                };
                wakee.by_cpu.iter().map(on_cpu).sum()
            };
            let idle = expected(None);
            let tells = idle >= u64::from(FEWEST_IDLE);
            if tells && u64::from(wakee.idle) * 100 < idle * IDLE_PERCENT {
                continue;
            }
            for (name, count) in &wakee.by_waker {
                let count = u64::from(*count);
                let is_alone = count * 100 >= u64::from(n) * ALONE_PERCENT;
                let is_chance = if !tells && is_alone {
                    wakee.is_regular()
                } else {
                    count <= expected(Some(*name)) * BY_CHANCE + BY_CHANCE_MORE
                };
                if is_chance {
                    by_chance.insert((*tid, *name));
                }
            }
        }
        Interrupts { by_chance }
    }
}

impl Wakee {
    /// Its sleeps are all as long, or end at one phase of a period.
    fn is_regular(&self) -> bool {
        let mut spans: Vec<u64> =
            self.sleeps.iter().map(|s| s.woken.saturating_sub(s.since)).collect();
        spans.sort_unstable();
        let Some(median) = spans.get(spans.len() / 2).copied() else { return false };
        let near = spans.iter().filter(|s| s.abs_diff(median) <= SLACK_NS + median / 50).count();
        near * 100 >= spans.len() * REGULAR_PERCENT || !periodic(&self.sleeps).is_empty()
    }
}

/// Whose wakeups interrupts made, although a task was running.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupts {
    by_chance: BTreeSet<(Tid, NameId)>,
}

impl Interrupts {
    /// Whether a task of this name was running only by chance when `wakee` was woken.
    pub(super) fn wake(&self, wakee: Tid, running: NameId) -> bool {
        self.by_chance.contains(&(wakee, running))
    }
}
