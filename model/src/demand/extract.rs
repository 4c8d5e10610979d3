//! What every task did, in the order of the events: programs without guesses.

use super::contention::Cover;
use super::presence::{Presence, Turn};
use super::program::{Asleep, Build};
use super::transfer::{Buffers, End};
use super::{
    Arrival, DemandLock, DemandNote, Interrupts, Latencies, LockIndex, OfSection, Op, yields,
};
use crate::history::Calls;
use crate::{
    Context, CpuId, Event, Host, LockFlags, LockId, Names, Nanos, PrevState, SchedEvent, TaskId,
    TaskTracker, Tid, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a walk over a recording finds out about its programs.
pub(crate) struct Extract<'r> {
    pub(super) names: &'r Names,
    pub(super) host: Option<&'r Host>,
    /// Lent by the walk.
    pub(super) tracker: TaskTracker,
    pub(super) builds: Vec<Build>,
    pub(super) presence: Presence,
    /// When somebody was woken onto each CPU last.
    woken_onto: BTreeMap<CpuId, u64>,
    pub(super) locks: Vec<DemandLock>,
    pub(super) lock_index: BTreeMap<LockId, LockIndex>,
    pub(super) buffers: Buffers,
    /// What calls on buffers take beside moving bytes.
    pub(crate) of_calls: Latencies,
    /// Where the sections of mutexes lie in them.
    pub(crate) of_section: OfSection,
    /// Mutexes whose calls are recorded.
    pub(super) calls: Calls,
    /// Those of them that left a record by now.
    pub(super) called: BTreeSet<LockIndex>,
    pub(super) cover: Cover,
    /// Yields are recorded.
    pub(crate) has_yields: bool,
    /// Where contexts are not recorded.
    pub(crate) interrupts: Interrupts,
    pub(super) stretches: Vec<Nanos>,
    pub(super) start: u64,
    pub(super) notes: BTreeMap<DemandNote, u64>,
}

impl<'r> Extract<'r> {
    /// Nothing yet.
    pub(crate) fn new(
        names: &'r Names,
        host: Option<&'r Host>,
        (start, calls): (Timestamp, Calls),
        cover: Cover,
    ) -> Self {
        Self {
            names,
            host,
            tracker: TaskTracker::default(),
            builds: Vec::new(),
            presence: Presence::default(),
            woken_onto: BTreeMap::new(),
            locks: Vec::new(),
            lock_index: BTreeMap::new(),
            buffers: Buffers::default(),
            of_calls: Latencies::default(),
            of_section: OfSection::default(),
            calls,
            called: BTreeSet::new(),
            cover,
            has_yields: false,
            interrupts: Interrupts::default(),
            stretches: Vec::new(),
            start: start.0,
            notes: BTreeMap::new(),
        }
    }

    /// Takes the next event; `overhead` is what the kernel took on the way to a switch.
    pub(crate) fn observe(&mut self, e: &Event, overhead: Nanos, tracker: &mut TaskTracker) {
        std::mem::swap(&mut self.tracker, tracker);
        self.builds.resize_with(self.tracker.tasks().len(), Build::default);
        self.event(e, overhead);
        std::mem::swap(&mut self.tracker, tracker);
    }

    fn event(&mut self, e: &Event, overhead: Nanos) {
        let at = e.at.0;
        self.turns(e);
        match e.kind {
            SchedEvent::Switch { .. } => self.switch(e, overhead),
            SchedEvent::Waking(w) => self.waking(e, w.tid),
            SchedEvent::Wakeup(w) => {
                self.woken_onto.insert(w.target_cpu, at);
                self.wakeup(e, w.tid);
            }
            SchedEvent::WakeupNew(w) => {
                self.woken_onto.insert(w.target_cpu, at);
                self.wakeup_new(e, w.tid, w.target_cpu);
            }
            SchedEvent::ContentionBegin { lock, flags } => self.begin(e, lock, flags),
            SchedEvent::ContentionEnd { lock, ret } => self.end(e, lock, ret),
            SchedEvent::MutexLock { lock, .. } => {
                let lock = self.called(e, lock);
                if let Some(b) = self.current(e) {
                    b.run_to(at);
                    b.failed_entry = Some(b.push(at, Op::Lock(lock)));
                    b.entered = Some(lock);
                    b.held.push(lock);
                }
            }
            SchedEvent::MutexLockReturn { ret, .. } if ret != 0 => self.lock_failed(e),
            SchedEvent::MutexTrylock { lock, ret } => {
                let lock = self.called(e, lock);
                if let Some(b) = self.current(e) {
                    b.run_to(at);
                    b.push(at, Op::TryLock { lock, acquired: ret == 1 });
                    if ret == 1 {
                        b.held.push(lock);
                    }
                }
            }
            SchedEvent::MutexUnlock { lock } => {
                let lock = self.lock(lock, LockFlags(LockFlags::MUTEX));
                if !self.let_go_if_shown(e, lock) {
                    self.unlock(e, lock);
                }
                self.called.insert(lock);
            }
            SchedEvent::ContendedRelease { lock } if self.cover.buffers => self.released(e, lock),
            SchedEvent::TransferBegin { buffer, way, size, count, is_nonblocking, mutex }
                if self.cover.buffers =>
            {
                self.transfer_begin(e, buffer, way, (count, is_nonblocking), (size, mutex));
            }
            SchedEvent::TransferEnd { buffer, ret } if self.cover.buffers => {
                self.transfer_end(e, buffer, ret);
            }
            SchedEvent::Yield if self.has_yields => {
                if let Some(b) = self.current(e) {
                    b.run_to(at);
                    b.push(at, Op::Yield);
                }
            }
            SchedEvent::HrtimerStart { function, expires_ns, .. } => {
                let own = self.names.text(function) == "hrtimer_wakeup";
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
            self.wake_by_interrupt(id, e.at.0, Context::Unknown);
        }
        let b = &mut self.builds[id.index()];
        if b.arrival.is_none() {
            b.arrival = Some(Arrival::At(since, e.cpu));
            b.seen.insert(e.cpu, u64::MAX);
        }
        b.come(since.0);
    }

    /// A CPU is left by another task than the one that came to it: that one's own leaving is
    /// missing. Nothing is known of it after its last event; it counts as asleep until it is seen.
    fn vanish(&mut self, id: TaskId, at: u64) {
        let b = &mut self.builds[id.index()];
        b.on_cpu = None;
        self.stretches.push(b.leave());
        let state = PrevState::Interruptible;
        b.call = None;
        b.asleep = Some(Asleep::new(at, state));
        self.count(DemandNote::SwitchMissing);
    }

    pub(super) fn lock(&mut self, lock: LockId, flags: LockFlags) -> LockIndex {
        let next = LockIndex(u32::try_from(self.locks.len()).unwrap_or(u32::MAX));
        let index = *self.lock_index.entry(lock).or_insert(next);
        if index == next {
            self.locks.push(DemandLock { lock, flags, has_preemption_points: false });
        }
        index
    }

    /// A call is about to take a mutex, and leaves a record of it.
    fn called(&mut self, e: &Event, mutex: LockId) -> LockIndex {
        let index = self.lock(mutex, LockFlags(LockFlags::MUTEX));
        self.called.insert(index);
        if let Some(id) = self.id(e.tid) {
            self.shows_itself(id, index);
        }
        index
    }

    fn switch(&mut self, e: &Event, overhead: Nanos) {
        let SchedEvent::Switch { prev, prev_prio, prev_state, next, next_prio, .. } = e.kind else {
            return;
        };
        let at = e.at.0;
        if let Some(id) = self.id(prev) {
            self.sched_change_since_came(id, prev_prio, at);
            let b = &mut self.builds[id.index()];
            b.run_to(at);
            b.on_cpu = None;
            b.n_left_runnable += usize::from(prev_state.is_runnable());
            if prev_state.is_runnable() {
                self.preempted_in_call(id, at);
            }
            let b = &mut self.builds[id.index()];
            match prev_state {
                PrevState::Runnable
                    if yields::has_yielded(prev_prio, next_prio) && !b.has_just_yielded() =>
                {
                    b.push(at, Op::Yield);
                    self.count(DemandNote::YieldInferred);
                }
                PrevState::Runnable
                    if !self.has_yields
                        && overhead.0 == 0
                        && next != Tid::IDLE
                        && yields::may_have_yielded(
                            (prev_prio, next_prio),
                            (b.came.1, at),
                            self.woken_onto.get(&e.cpu).copied(),
                        ) =>
                {
                    let n = b.push(at, Op::Yield);
                    b.steps[n].is_doubtful = true;
                }
                PrevState::Runnable | PrevState::Preempted => {
                    b.forget(overhead.0);
                }
                PrevState::Dead => {
                    b.push(at, Op::Exit);
                    b.exited = Some(at);
                }
                state => self.fall_asleep(id, at, state),
            }
            let b = &mut self.builds[id.index()];
            self.stretches.push(b.leave());
            b.seen.insert(e.cpu, b.total);
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
                self.wake_by_interrupt(id, at, Context::Unknown);
            }
            self.sched_change(id, next_prio, at);
            let b = &mut self.builds[id.index()];
            b.come(at);
            b.seen.insert(e.cpu, u64::MAX);
            self.take_again(id, at);
        }
    }

    fn fall_asleep(&mut self, id: TaskId, at: u64, state: PrevState) {
        let b = &mut self.builds[id.index()];
        let mutex = b.contending.is_some_and(|c| self.cover.has(c.flags));
        let on = b.contending.filter(|c| !c.in_lock).map(|c| (c.lock, c.flags));
        let timer = b.timer.take();
        let in_call = b.call.map(|call| call.buffer).filter(|_| !mutex);
        b.asleep = Some(Asleep { since: at, state, on, in_mutex: mutex, in_call, timer });
        if in_call.is_some() {
            self.let_go(id, at, End::Unseen);
        }
    }
}
