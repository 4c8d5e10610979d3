//! Takes a recording apart into decisions and steps of programs.

use super::decision::{Expected, Part, Spin, Step, Stint, Told, Why};
use model::demand::{Demand, LockIndex, Presence, Turn};
use model::{
    Context, Event, LockId, Nanos, Op, PrevState, Recording, SchedEvent, TaskId, TaskTracker, Tid,
};
use std::collections::{BTreeMap, BTreeSet};

/// A mutex acquisition, or a wait for another lock, that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contending {
    pub lock: LockIndex,
    /// The demand acquires this lock by itself.
    pub is_own: bool,
    /// Since when it is in the lock's code, on this stretch on a CPU.
    pub spins: Option<u64>,
}

pub(super) struct Reader<'d> {
    pub told: Told,
    tracker: TaskTracker,
    presence: Presence,
    stretches: std::slice::Iter<'d, Nanos>,
    pub locks: BTreeMap<LockId, LockIndex>,
    /// Locks that programs acquire.
    pub owned: BTreeSet<LockIndex>,
    pub open: BTreeMap<TaskId, Stint>,
    pub contending: BTreeMap<TaskId, Contending>,
    /// Mutexes that a recorded call has begun to acquire.
    pub entered: BTreeMap<TaskId, LockIndex>,
    /// Latest acquisition, by index into the expected steps.
    pub attempt: BTreeMap<TaskId, usize>,
    /// Who sleeps; and whether for a mutex.
    asleep: BTreeMap<TaskId, Why>,
    /// Wakeups by tasks of somebody who is still on a CPU, by their index into the parts.
    early: BTreeMap<TaskId, (usize, Expected)>,
}

pub(super) fn read(demand: &Demand, recording: &Recording) -> Told {
    let locks = demand.locks.iter().zip(0u32..).map(|(l, n)| (l.lock, LockIndex(n))).collect();
    let ops = demand.tasks.iter().flat_map(|t| &t.ops);
    let owned = ops.filter_map(|op| match op {
        Op::Lock(lock) | Op::Unlock(lock) | Op::TryLock { lock, .. } => Some(*lock),
        _ => None,
    });
    let shows_calls =
        recording.events.iter().any(|e| matches!(e.kind, SchedEvent::MutexUnlock { .. }));
    let mut reader = Reader {
        told: Told { shows_calls, ..Told::default() },
        tracker: TaskTracker::default(),
        presence: Presence::default(),
        stretches: demand.stretches.iter(),
        locks,
        owned: owned.collect(),
        open: BTreeMap::new(),
        contending: BTreeMap::new(),
        entered: BTreeMap::new(),
        attempt: BTreeMap::new(),
        asleep: BTreeMap::new(),
        early: BTreeMap::new(),
    };
    for event in &recording.events {
        reader.tracker.observe(event);
        let part = reader.event(event);
        reader.told.parts.push(part);
        reader.tracker.settle(event);
    }
    let end = demand.end.0;
    for (_, stint) in std::mem::take(&mut reader.open) {
        reader.told.stints.push(Stint { left: end.max(stint.from), ..stint });
    }
    // Who still spins at the end does so until then.
    for (task, at) in reader.contending.iter().filter_map(|(t, c)| Some((*t, c.spins?))) {
        let last = reader.told.stints.iter_mut().rev().find(|s| s.task == task);
        if let Some(stint) = last.filter(|s| s.why == Why::Cut) {
            stint.spins.push(Spin {
                lock: reader.contending[&task].lock,
                from: at.max(stint.from),
                to: end,
            });
        }
    }
    reader.told
}

impl Reader<'_> {
    fn event(&mut self, e: &Event) -> Part {
        let is_new = |r: &Self, tid: Tid| r.tracker.id(tid).filter(|t| !r.presence.has_seen(*t));
        let new = match e.kind {
            SchedEvent::Waking(w) | SchedEvent::WakeupNew(w) => is_new(self, w.tid),
            _ => None,
        };
        let turns = self.presence.observe(e, &self.tracker);
        turns.into_iter().for_each(|turn| self.turn(e, turn));
        let in_task = !matches!(e.context, Context::HardIrq | Context::SoftIrq);
        let current = self.tracker.id(e.tid).filter(|_| in_task);
        match e.kind {
            SchedEvent::Switch { .. } => Part::Switch,
            SchedEvent::Waking(w) => self.waking(e, w.tid, new),
            SchedEvent::Wakeup(w) => self.wakeup(w.tid),
            SchedEvent::WakeupNew(w) => {
                let parent = self.tracker.id(e.tid).filter(|p| Some(*p) != self.tracker.id(w.tid));
                match (parent, new) {
                    (Some(parent), Some(child)) => self.expect(e, parent, Step::Fork(child)),
                    _ => Part::Decided,
                }
            }
            _ => match current {
                Some(task) => self.lock_event(e, task),
                None => Part::Decided,
            },
        }
    }

    pub(super) fn expect(&mut self, e: &Event, task: TaskId, step: Step) -> Part {
        let index = self.told.expected.len();
        self.told.expected.push(Expected { at: e.at.0, cpu: e.cpu, task, step });
        if let Some(stint) = self.open.get_mut(&task) {
            stint.shown.push(index);
        }
        Part::Step(index)
    }

    fn turn(&mut self, e: &Event, turn: Turn) {
        let at = e.at.0;
        match turn {
            Turn::Came(task) => self.come(e, task, at),
            Turn::Found(task, since) => self.come(e, task, since.0),
            Turn::Left(task) => {
                let SchedEvent::Switch { prev_state, .. } = e.kind else { return };
                let in_lock = self.contending.get(&task).is_some_and(|c| c.is_own);
                let why = match prev_state {
                    PrevState::Runnable | PrevState::Preempted => Why::Preempted,
                    PrevState::Dead => Why::Itself,
                    _ if in_lock => Why::InLock,
                    _ => Why::Itself,
                };
                self.leave(task, at, why);
            }
            Turn::Vanished(task) => self.leave(task, at, Why::Vanished),
        }
    }

    fn come(&mut self, e: &Event, task: TaskId, from: u64) {
        self.asleep.remove(&task);
        if let Some(since) = self.contending.get_mut(&task).and_then(|c| c.spins.as_mut()) {
            *since = from;
        }
        let (why, program) = (Why::Cut, u64::MAX);
        let (spins, shown) = (Vec::new(), Vec::new());
        let stint = Stint { task, cpu: e.cpu, from, left: from, program, why, spins, shown };
        self.open.insert(task, stint);
    }

    fn leave(&mut self, task: TaskId, at: u64, why: Why) {
        let program = self.stretches.next().map_or(u64::MAX, |span| span.0);
        if why != Why::Preempted {
            self.asleep.insert(task, why);
        }
        let Some(mut stint) = self.open.remove(&task) else { return };
        (stint.left, stint.why, stint.program) = (at, why, program);
        if let Some(c) = self.contending.get_mut(&task)
            && let Some(since) = c.spins.as_mut()
        {
            stint.spins.push(Spin { lock: c.lock, from: *since, to: at });
            *since = at;
        }
        self.told.stints.push(stint);
    }

    fn waking(&mut self, e: &Event, target: Tid, new: Option<TaskId>) -> Part {
        let Some(task) = self.tracker.id(target) else { return Part::Decided };
        let asleep = self.asleep.remove(&task);
        let waker = self.tracker.id(e.tid).filter(|w| *w != task);
        self.early.remove(&task);
        if asleep.is_none() && new.is_none() {
            if let Some(waker) = waker.filter(|_| e.context == Context::Task)
                && self.presence.is_on_cpu(task)
            {
                let (step, place) = (Step::Wake(task), self.told.parts.len());
                let wake = Expected { at: e.at.0, cpu: e.cpu, task: waker, step };
                self.early.insert(task, (place, wake));
            }
            return Part::Idle(task);
        }
        if asleep == Some(Why::InLock) {
            return Part::Idle(task);
        }
        match (e.context, waker) {
            (Context::Task, Some(waker)) => self.expect(e, waker, Step::Wake(task)),
            (Context::Unknown, Some(waker)) => match self.expect(e, waker, Step::Wake(task)) {
                Part::Step(index) => Part::Either(task, index),
                other => other,
            },
            _ => Part::Interrupt(task),
        }
    }

    /// The arrival on a runqueue; where no waking is recorded, this is the wakeup.
    fn wakeup(&mut self, target: Tid) -> Part {
        let Some(task) = self.tracker.id(target) else { return Part::Decided };
        let early = self.early.remove(&task);
        match (self.asleep.remove(&task), early) {
            (None, _) => Part::Decided,
            (Some(Why::InLock), _) => Part::Idle(task),
            (Some(_), None) => Part::Interrupt(task),
            (Some(_), Some((place, wake))) => {
                self.woken_early(place, wake);
                Part::Decided
            }
        }
    }

    /// An earlier wakeup found somebody on the way to sleep: it was a step of its waker.
    fn woken_early(&mut self, place: usize, wake: Expected) {
        let index = self.told.expected.len();
        self.told.expected.push(wake);
        self.told.parts[place] = Part::Step(index);
        let stints = self.told.stints.iter_mut().rev();
        let ended = || stints.take_while(|s| s.left >= wake.at).find(|s| s.task == wake.task);
        let open = self.open.get_mut(&wake.task).filter(|s| s.from <= wake.at);
        if let Some(stint) = open.or_else(ended) {
            let expected = &self.told.expected;
            let later = stint.shown.partition_point(|i| expected[*i].at <= wake.at);
            stint.shown.insert(later, index);
        }
    }
}
