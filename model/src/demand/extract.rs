//! One pass over the events of a recording that turns what happened into what was asked for.

use super::contention::Cover;
use super::hidden;
use super::latency::SwitchCauses;
use super::presence::{Presence, Turn};
use super::program::{Asleep, Build};
use super::rounds::{self, Ending, Rounds};
use super::sleep::{TimerSleep, find_period};
use super::unbroken::unbroken;
use super::unseen::{self, Holder};
use super::{
    Arrival, Demand, DemandLock, LockIndex, Op, TaskDemand, cgroup, latency, machine, order,
};
use crate::{
    Context, CpuId, CpuSet, Event, Host, LockFlags, LockId, NameId, Nanos, PrevState, Recording,
    SchedEvent, TaskId, TaskTracker, Tid, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Something the demand does not say as well as one would wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DemandNote {
    /// A mutex was released whose acquisition is not in the trace; its section's start is a guess.
    SectionStartGuessed,
    /// A mutex went to somebody else without a release in the trace; its section's end is a guess.
    SectionEndGuessed,
    /// A round of a loop is taken to have a section that other rounds show.
    SectionAssumed,
    /// A mutex wait ended without the mutex.
    LockAttemptFailed,
    /// A task fell asleep and ran again without a wakeup between.
    WakeupMissing,
    /// A task came to a CPU, and another one left it: how long the first ran is not known.
    SwitchMissing,
    /// A wakeup's context is not recorded: taken as a task's if one was running.
    WakerContextGuessed,
    /// A wait was still going on when the recording ended.
    WaitCutOff,
    /// An event lies behind or before ten minutes of silence: a damaged time stamp. It is left out.
    OutOfTime,
}

pub(super) struct Extract<'r> {
    pub(super) recording: &'r Recording,
    pub(super) host: Option<&'r Host>,
    pub(super) tracker: TaskTracker,
    pub(super) builds: Vec<Build>,
    pub(super) presence: Presence,
    pub(super) locks: Vec<DemandLock>,
    pub(super) lock_index: BTreeMap<LockId, LockIndex>,
    /// Who is known to have a mutex, where its calls are not recorded.
    pub(super) holders: BTreeMap<LockIndex, Holder>,
    /// CPU time of sections whose both ends are known, by task name and mutex.
    pub(super) sections: BTreeMap<(NameId, LockIndex), Vec<u64>>,
    /// How many of them the task slept in.
    pub(super) slept_in: BTreeMap<(NameId, LockIndex), usize>,
    /// Their medians, from an earlier pass.
    pub(super) typical: BTreeMap<(NameId, LockIndex), u64>,
    /// Those in which tasks of this name do not sleep, as far as an earlier pass knows.
    pub(super) awake: BTreeSet<(NameId, LockIndex)>,
    /// Latest moment at which somebody else than the next releaser is known to have had the lock.
    pub(super) last_known: BTreeMap<LockIndex, u64>,
    /// First waiter's begin since the last release.
    pub(super) first_wait: BTreeMap<LockIndex, u64>,
    pub(super) has_mutex_calls: bool,
    pub(super) cover: Cover,
    pub(super) percentile: usize,
    pub(super) causes: SwitchCauses<'r>,
    pub(super) stretches: Vec<Nanos>,
    pub(super) start: u64,
    pub(super) notes: BTreeMap<DemandNote, u64>,
}

/// Recovers the demand of a recording.
///
/// Total: what the trace leaves open is guessed and counted in the notes.
#[must_use]
pub fn extract(recording: &Recording, host: Option<&Host>) -> (Demand, BTreeMap<DemandNote, u64>) {
    extract_with(recording, host, Choices::default())
}

/// What an extraction may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Locks with critical sections of their own.
    pub cover: Cover,
    /// Where a section's length is guessed, it is that of the known ones at this percentile.
    pub section_percentile: usize,
}

impl Default for Choices {
    fn default() -> Self {
        Self { cover: Cover::default(), section_percentile: 50 }
    }
}

/// As [`extract`], with choices of the caller's.
#[must_use]
pub fn extract_with(
    recording: &Recording,
    host: Option<&Host>,
    choices: Choices,
) -> (Demand, BTreeMap<DemandNote, u64>) {
    let events = unbroken(&recording.events);
    let start = events.first().map_or(Timestamp(0), |e| e.at);
    let end = events.last().map_or(start, |e| e.at);
    let has_mutex_calls = events.iter().any(|e| matches!(e.kind, SchedEvent::MutexUnlock { .. }));
    let pass = |typical, awake| {
        let mut x = Extract {
            recording,
            host,
            tracker: TaskTracker::default(),
            builds: Vec::new(),
            presence: Presence::default(),
            locks: Vec::new(),
            lock_index: BTreeMap::new(),
            holders: BTreeMap::new(),
            sections: BTreeMap::new(),
            slept_in: BTreeMap::new(),
            typical,
            awake,
            last_known: BTreeMap::new(),
            first_wait: BTreeMap::new(),
            has_mutex_calls,
            cover: choices.cover,
            percentile: choices.section_percentile,
            causes: SwitchCauses::new(&recording.names),
            stretches: Vec::new(),
            start: start.0,
            notes: BTreeMap::new(),
        };
        for event in events {
            x.tracker.observe(event);
            let n = x.tracker.tasks().len();
            x.builds.resize_with(n, Build::default);
            x.event(event);
            x.tracker.settle(event);
        }
        x
    };
    let mut x = pass(BTreeMap::new(), BTreeSet::new());
    if !x.sections.is_empty() {
        let percentile = |mut spans: Vec<u64>| {
            spans.sort_unstable();
            hidden::at_percentile(&spans, choices.section_percentile).unwrap_or(0)
        };
        let known = std::mem::take(&mut x.sections);
        let awake = unseen::awake(&known, &x.slept_in);
        x = pass(known.into_iter().map(|(key, spans)| (key, percentile(spans))).collect(), awake);
    }
    let left_out = recording.events.len() - events.len();
    if left_out > 0 {
        x.notes.insert(DemandNote::OutOfTime, left_out as u64);
    }
    x.finish(end)
}

impl Extract<'_> {
    pub(super) fn event(&mut self, e: &Event) {
        let at = e.at.0;
        self.turns(e);
        let overhead = self.causes.observe(e).map_or(Nanos(0), |(_, span)| span);
        match e.kind {
            SchedEvent::Switch { .. } => self.switch(e, overhead),
            SchedEvent::Waking(w) => self.waking(e, w.tid),
            SchedEvent::Wakeup(w) => self.wakeup(e, w.tid),
            SchedEvent::WakeupNew(w) => self.wakeup_new(e, w.tid, w.target_cpu),
            SchedEvent::ContentionBegin { lock, flags } => self.begin(e, lock, flags),
            SchedEvent::ContentionEnd { lock, ret } => self.end(e, lock, ret),
            SchedEvent::ContendedRelease { lock } => self.contended_release(e, lock),
            SchedEvent::MutexLock { lock, .. } => {
                let lock = self.lock(lock, LockFlags(LockFlags::MUTEX));
                if let Some(b) = self.current(e) {
                    b.run_to(at);
                    b.failed_entry = Some(b.push(Op::Lock(lock)));
                    b.entered = Some(lock);
                    b.held.push(lock);
                }
            }
            SchedEvent::MutexLockReturn { ret, .. } if ret != 0 => self.lock_failed(e),
            SchedEvent::MutexTrylock { lock, ret } => {
                let lock = self.lock(lock, LockFlags(LockFlags::MUTEX));
                if let Some(b) = self.current(e) {
                    b.run_to(at);
                    b.push(Op::TryLock { lock, acquired: ret == 1 });
                    if ret == 1 {
                        b.held.push(lock);
                    }
                }
            }
            SchedEvent::MutexUnlock { lock } => {
                let lock = self.lock(lock, LockFlags(LockFlags::MUTEX));
                self.unlock(e, lock);
            }
            SchedEvent::HrtimerStart { function, expires_ns, .. } => {
                let own = self.recording.names.text(function) == "hrtimer_wakeup";
                if own && let (Some(b), Ok(expiry)) = (self.current(e), u64::try_from(expires_ns)) {
                    b.run_to(at);
                    b.timer = Some((expiry, at, b.total));
                }
            }
            _ => {}
        }
    }

    pub(super) fn count(&mut self, note: DemandNote) {
        *self.notes.entry(note).or_insert(0) += 1;
    }

    pub(super) fn id(&self, tid: Tid) -> Option<TaskId> {
        self.tracker.id(tid)
    }

    /// The build of the task in whose context the event was recorded.
    pub(super) fn current(&mut self, e: &Event) -> Option<&mut Build> {
        if matches!(e.context, Context::HardIrq | Context::SoftIrq) {
            return None;
        }
        let id = self.id(e.tid)?;
        Some(&mut self.builds[id.index()])
    }

    /// Takes note of who turns out to be on a CPU, or not to be there any more.
    fn turns(&mut self, e: &Event) {
        for turn in self.presence.observe(e, &self.tracker) {
            match turn {
                Turn::Vanished(id) => self.vanish(id, e.at.0),
                Turn::Found(id, since) => self.found(id, e, since),
                // The switch itself is taken up with the event.
                Turn::Left(_) | Turn::Came(_) => {}
            }
        }
    }

    /// A task is on a CPU, and how it came there is not in the trace.
    fn found(&mut self, id: TaskId, e: &Event, since: Timestamp) {
        if self.builds[id.index()].asleep.is_some() {
            self.count(DemandNote::WakeupMissing);
            self.wake_by_interrupt(id, e.at.0);
        }
        let b = &mut self.builds[id.index()];
        b.arrival.get_or_insert(Arrival::At(since, e.cpu));
        b.come(since.0);
    }

    /// A CPU is left by another task than the one that came to it: that one's own leaving is
    /// missing. Nothing is known of it after its last event; it counts as asleep until it is seen.
    fn vanish(&mut self, id: TaskId, at: u64) {
        let b = &mut self.builds[id.index()];
        b.on_cpu = None;
        self.stretches.push(b.leave());
        let state = PrevState::Interruptible;
        b.asleep = Some(Asleep { since: at, state, on: None, in_mutex: false, timer: None });
        self.count(DemandNote::SwitchMissing);
    }

    pub(super) fn lock(&mut self, lock: LockId, flags: LockFlags) -> LockIndex {
        let next = LockIndex(u32::try_from(self.locks.len()).unwrap_or(u32::MAX));
        let index = *self.lock_index.entry(lock).or_insert(next);
        if index == next {
            self.locks.push(DemandLock { lock, flags });
        }
        index
    }

    fn switch(&mut self, e: &Event, overhead: Nanos) {
        let SchedEvent::Switch { prev, prev_prio, prev_state, next, next_prio, .. } = e.kind else {
            return;
        };
        let at = e.at.0;
        if let Some(id) = self.id(prev) {
            self.sched_change_since_came(id, prev_prio);
            let b = &mut self.builds[id.index()];
            b.run_to(at);
            b.on_cpu = None;
            match prev_state {
                PrevState::Runnable | PrevState::Preempted => {
                    b.forget(overhead.0);
                }
                PrevState::Dead => {
                    b.push(Op::Exit);
                    b.exited = Some(at);
                }
                state => self.fall_asleep(id, at, state),
            }
            self.stretches.push(self.builds[id.index()].leave());
        }
        if let Some(id) = self.id(next) {
            // Nobody woke it: it has been queued from the start.
            let start = self.start;
            let b = &mut self.builds[id.index()];
            if b.arrival.is_none() {
                b.arrival = Some(Arrival::At(Timestamp(start), e.cpu));
            }
            if b.asleep.is_some() {
                self.count(DemandNote::WakeupMissing);
                self.wake_by_interrupt(id, at);
            }
            self.sched_change(id, next_prio);
            self.builds[id.index()].come(at);
        }
    }

    fn fall_asleep(&mut self, id: TaskId, at: u64, state: PrevState) {
        let b = &mut self.builds[id.index()];
        let mutex = b.contending.is_some_and(|c| self.cover.has(c.flags));
        let on = b.contending.filter(|c| !c.spinning).map(|c| (c.lock, c.flags));
        if !mutex {
            for holder in self.holders.values_mut().filter(|h| h.task == id) {
                holder.slept.get_or_insert(b.total);
            }
        }
        if !mutex {
            b.slept_at = b.total;
        }
        let timer = b.timer.take();
        b.asleep = Some(Asleep { since: at, state, on, in_mutex: mutex, timer });
    }

    /// When each loop's task was in its last round, for those that ended.
    fn endings(&self) -> Vec<Option<Ending>> {
        let ending = |b: &Build| {
            let by = b.exited?;
            let seams = rounds::find(&b.ops, &b.holds)?.seams;
            let began = |s: &&TimerSleep| seams.binary_search(&(s.op + 1)).is_ok();
            let times: Vec<u64> = b.timer_sleeps.iter().filter(began).map(|s| s.woken).collect();
            rounds::ending(&times, by)
        };
        self.builds.iter().map(ending).collect()
    }

    /// Ends every program, and makes what was guessed of its sections consistent.
    fn close_programs(&mut self, end: Timestamp) {
        let hides_sections = !self.has_mutex_calls || self.cover != Cover::default();
        let (mut cut_off, mut rebalanced, mut hidden) = (0, 0, 0);
        for index in 0..self.builds.len() {
            let name = self.tracker.tasks()[index].comm;
            let of_name = (name, LockIndex(0))..=(name, LockIndex(u32::MAX));
            let awake: Vec<LockIndex> = self.awake.range(of_name).map(|(_, lock)| *lock).collect();
            let b = &mut self.builds[index];
            b.run_to(end.0);
            b.flush();
            if let Some(asleep) = b.asleep.take().filter(|a| !a.in_mutex) {
                b.push(Op::Wait { state: asleep.state, on: asleep.on });
                cut_off += 1;
            }
            let sleeps = std::mem::take(&mut b.timer_sleeps);
            find_period(&mut b.ops, &sleeps);
            if hides_sections {
                rebalanced += unseen::balance(&mut b.ops, &b.holds, &awake);
                rebalanced += unseen::release_at_end(&mut b.ops, &b.holds);
                hidden += hidden::complete(&mut b.ops, &b.holds, self.percentile);
            }
        }
        if hides_sections {
            let mut programs: Vec<(&mut Vec<Op>, &[LockIndex])> =
                self.builds.iter_mut().map(|b| (&mut b.ops, &b.holds[..])).collect();
            rebalanced += order::untangle(&mut programs);
        }
        let counted = [
            (DemandNote::SectionAssumed, hidden),
            (DemandNote::SectionEndGuessed, rebalanced),
            (DemandNote::WaitCutOff, cut_off),
        ];
        for (note, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            *self.notes.entry(note).or_insert(0) += count;
        }
    }

    fn finish(mut self, end: Timestamp) -> (Demand, BTreeMap<DemandNote, u64>) {
        let endings = self.endings();
        let stop = rounds::common_end(&endings.iter().copied().flatten().collect::<Vec<_>>());
        let tasks = self.tracker.tasks().to_vec();
        self.close_programs(end);
        let mut demands = Vec::new();
        let groups = cgroup::groups(self.host);
        for (index, info) in tasks.into_iter().enumerate() {
            let affinity = self
                .host_task(TaskId(u32::try_from(index).unwrap_or(u32::MAX)))
                .and_then(|h| h.affinity.as_ref())
                .map(|cpus| CpuSet::of(&cpus.iter().map(|c| CpuId(*c)).collect::<Vec<_>>()));
            let host_task = self.host_task(TaskId(u32::try_from(index).unwrap_or(u32::MAX)));
            let group = cgroup::of(&groups, host_task.and_then(|h| h.cgroup.as_deref()));
            let b = &mut self.builds[index];
            // Who was told to stop with the others, and had to wait for a CPU or a lock first.
            let soon = (end.0 - self.start) / 10;
            let rounds = match (b.exited, endings[index], stop) {
                (None, ..) => rounds::find(&b.ops, &b.holds)
                    .or_else(|| rounds::find_sleepless(&b.ops, &b.holds)),
                (Some(by), None, Some(at)) if at.0 <= by && by - at.0 <= soon => {
                    rounds::find_sleepless(&b.ops, &b.holds).map(|r| Rounds { until: stop, ..r })
                }
                (Some(_), Some(e), Some(at)) if e.after < at.0 && at.0 <= e.by => {
                    rounds::find(&b.ops, &b.holds).map(|r| Rounds { until: stop, ..r })
                }
                _ => None,
            };
            demands.push(TaskDemand {
                info,
                arrival: b.arrival.unwrap_or(Arrival::Forked),
                sched: b.first_sched,
                affinity,
                group,
                holds: std::mem::take(&mut b.holds),
                ops: std::mem::take(&mut b.ops),
                initial_fair: None,
                rounds,
            });
        }
        let demand = Demand {
            machine: machine::machine(self.recording, self.host),
            tasks: demands,
            locks: self.locks,
            groups,
            names: self.recording.names.clone(),
            latencies: latency::measure(&self.recording.events, &self.recording.names),
            stretches: self.stretches,
            start: Timestamp(self.start),
            end,
        };
        (demand, self.notes)
    }
}
