//! A task's program while it is being built, step by step.

use super::sleep::TimerSleep;
use super::transfer::Call;
use super::{Arrival, BufferIndex, LockIndex, Op, SchedParams};
use crate::{LockFlags, Nanos, PrevState, TaskId};

/// A wait that a task has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep {
    pub(super) since: u64,
    pub(super) state: PrevState,
    pub(super) on: Option<(LockIndex, LockFlags)>,
    /// Part of a mutex acquisition: the replay recreates it.
    pub(super) in_mutex: bool,
    /// In a call that moves bytes through this buffer.
    pub(super) in_call: Option<BufferIndex>,
    /// A timer of its own was armed (expiry, when, CPU time at that moment).
    pub(super) timer: Option<(u64, u64, u64)>,
}

impl Asleep {
    /// For nothing that is known.
    pub(super) fn new(since: u64, state: PrevState) -> Self {
        Self { since, state, on: None, in_mutex: false, in_call: None, timer: None }
    }
}

/// A wakeup by a task of somebody who is still on a CPU, perhaps on its way to sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlyWake {
    pub(super) waker: TaskId,
    /// Both were in calls on this buffer.
    pub(super) buffer: Option<BufferIndex>,
    /// When, and where the waker's program was.
    pub(super) at: u64,
    pub(super) place: Place,
}

/// A `contention_begin` without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contending {
    pub(super) lock: LockIndex,
    pub(super) flags: LockFlags,
    /// The lock's own code runs until it ends: a replay recreates it.
    pub(super) in_lock: bool,
}

/// An interaction. What lies between two of them is CPU time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// When it began, in trace time.
    pub(super) at: u64,
    /// CPU time that the task had used.
    pub(super) total: u64,
    pub(super) op: Op,
    /// It counts only if its task does so often.
    pub(super) is_doubtful: bool,
}

impl Step {
    /// The task is off its CPU, or gone, behind it.
    pub(super) fn leaves(&self) -> bool {
        matches!(self.op, Op::Sleep { .. } | Op::Wait { .. } | Op::Exit)
    }
}

/// A point in a program: before step `step`, at `total` ns of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) step: usize,
    pub(super) total: u64,
}

/// A stretch of trace time in which the program went on.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    to: u64,
    /// CPU time at its beginning.
    total: u64,
}

#[derive(Debug, Default)]
pub(super) struct Build {
    pub(super) steps: Vec<Step>,
    stretches: Vec<Stretch>,
    pub(super) arrival: Option<Arrival>,
    pub(super) sched: Option<SchedParams>,
    pub(super) first_sched: SchedParams,
    /// Up to here its CPU time is counted; `None` off CPU.
    pub(super) on_cpu: Option<u64>,
    /// CPU time when it came to its CPU.
    pub(super) total_before: u64,
    /// CPU time since the beginning.
    pub(super) total: u64,
    pub(super) asleep: Option<Asleep>,
    pub(super) early_wake: Option<EarlyWake>,
    pub(super) contending: Option<Contending>,
    /// The call it is in that moves bytes.
    pub(super) call: Option<Call>,
    /// The last one, and when it ended.
    pub(super) call_ended: Option<(BufferIndex, u64)>,
    pub(super) entered: Option<LockIndex>,
    /// The step of its latest attempt to get a lock.
    pub(super) failed_entry: Option<usize>,
    pub(super) held: Vec<LockIndex>,
    pub(super) holds: Vec<LockIndex>,
    /// Locks that it releases, and did not take as far as is recorded: behind so much CPU time, most
    /// likely.
    pub(super) unseen: Vec<(u64, LockIndex)>,
    pub(super) timer: Option<(u64, u64, u64)>,
    pub(super) timer_sleeps: Vec<TimerSleep>,
    /// When it was woken from sleeps other than for a mutex.
    pub(super) wakes: Vec<u64>,
    /// Where it came to its CPU, and when.
    pub(super) came: (Place, u64),
    /// Where it was seen running.
    pub(super) seen: super::affinity::Seen,
    /// When it ended.
    pub(super) exited: Option<u64>,
    /// How often it left a CPU runnable.
    pub(super) n_left_runnable: usize,
}

impl Build {
    /// It comes to a CPU.
    pub(super) fn come(&mut self, at: u64) {
        self.on_cpu = Some(at);
        self.total_before = self.total;
        self.came = (self.place(), at);
    }

    /// It has left its CPU: how long its program ran there.
    pub(super) fn leave(&mut self) -> Nanos {
        let span = self.total.saturating_sub(self.total_before);
        self.total_before = self.total;
        Nanos(span)
    }

    pub(super) fn is_in_lock(&self) -> bool {
        self.contending.is_some_and(|c| c.in_lock)
    }

    /// Adds the CPU time up to `at`, unless it was in the code of a lock: spinning, on its way to
    /// sleep, or back from there.
    pub(super) fn run_to(&mut self, at: u64) {
        let in_lock = self.is_in_lock();
        let Some(since) = self.on_cpu.replace(at) else {
            self.on_cpu = None;
            return;
        };
        let at = at.max(since);
        self.on_cpu = Some(at);
        if in_lock || at == since {
            return;
        }
        match self.stretches.last_mut() {
            Some(s) if s.to == since && s.total + (s.to - s.from) == self.total => s.to = at,
            _ => self.stretches.push(Stretch { from: since, to: at, total: self.total }),
        }
        self.total += at - since;
    }

    /// Takes back CPU time that was the kernel's own on its way to a switch.
    ///
    /// Time in a lock was never counted, nor is what went before the latest interaction touched,
    /// nor what an earlier stretch on a CPU counted.
    pub(super) fn forget(&mut self, overhead: u64) {
        let counted = self.total.saturating_sub(self.total_before);
        let began = self.call.map_or(0, |call| call.total);
        let latest = self.steps.last().map_or(0, |s| s.total).max(began);
        let compute = self.total - latest.min(self.total);
        let overhead = if self.is_in_lock() { 0 } else { overhead.min(counted).min(compute) };
        self.total -= overhead;
    }

    /// Adds an interaction that began at `at`; returns its index.
    pub(super) fn push(&mut self, at: u64, op: Op) -> usize {
        self.steps.push(Step { at, total: self.total, op, is_doubtful: false });
        self.steps.len() - 1
    }

    /// CPU time behind `begin`, which step `from` is not before, was less: `now` says how much.
    ///
    /// `now` must not decrease, and leave `begin` alone.
    pub(super) fn shorten(&mut self, from: usize, begin: u64, now: impl Fn(u64) -> u64) {
        for step in self.steps.get_mut(from..).unwrap_or_default() {
            step.total = now(step.total.max(begin));
        }
        for stretch in self.stretches.iter_mut().rev().take_while(|s| s.total > begin) {
            stretch.total = now(stretch.total);
        }
        for total in [&mut self.total, &mut self.total_before, &mut self.came.0.total] {
            if *total > begin {
                *total = now(*total);
            }
        }
    }

    /// Takes a step out.
    pub(super) fn remove(&mut self, n: usize) {
        if n >= self.steps.len() {
            return;
        }
        self.steps.remove(n);
        for index in self.timer_sleeps.iter_mut().map(|s| &mut s.step).chain(&mut self.failed_entry)
        {
            *index -= usize::from(*index > n);
        }
        self.came.0.step -= usize::from(self.came.0.step > n);
        if let Some(call) = &mut self.call {
            call.removed(n);
        }
    }

    /// Takes the doubtful steps out, when all of it is known.
    pub(super) fn drop_doubtful(&mut self) {
        let doubtful: Vec<usize> =
            (0..self.steps.len()).filter(|n| self.steps[*n].is_doubtful).collect();
        for sleep in &mut self.timer_sleeps {
            sleep.step -= doubtful.partition_point(|n| *n < sleep.step);
        }
        self.steps.retain(|step| !step.is_doubtful);
    }

    /// Where the program stands now.
    pub(super) fn place(&self) -> Place {
        Place { step: self.steps.len(), total: self.total }
    }

    /// Adds an interaction at a place of the past.
    pub(super) fn insert(&mut self, place: Place, at: u64, op: Op) {
        let n = place.step.min(self.steps.len());
        self.steps.insert(n, Step { at, total: place.total, op, is_doubtful: false });
        for index in self.timer_sleeps.iter_mut().map(|s| &mut s.step).chain(&mut self.failed_entry)
        {
            *index += usize::from(*index >= n);
        }
        self.came.0.step += usize::from(self.came.0.step > n);
        if let Some(call) = &mut self.call {
            call.inserted(n, at);
        }
    }

    /// It has called `sched_yield` since it came to its CPU, and nothing since.
    pub(super) fn has_just_yielded(&self) -> bool {
        self.steps.last().is_some_and(|s| s.op == Op::Yield && s.at >= self.came.1)
    }

    /// It has got the lock that it asked for last, with all that went before that.
    pub(super) fn reach_lock(&mut self) {
        let (total, last) = (self.total, self.steps.len().checked_sub(1));
        if let Some(at) = self.failed_entry.filter(|at| Some(*at) == last) {
            self.steps[at].total = total;
        }
    }

    /// It has a lock whose acquisition is not recorded: it took it when it woke last, or has had it
    /// from the beginning.
    pub(super) fn took_unseen(&mut self, lock: LockIndex) {
        match self.steps.iter().rfind(|step| step.leaves()) {
            Some(woken) => self.unseen.push((woken.total, lock)),
            None => self.holds.push(lock),
        }
    }

    /// CPU time used up to a moment.
    pub(super) fn total_at(&self, at: u64) -> u64 {
        let after = self.stretches.partition_point(|s| s.from <= at);
        let Some(s) = after.checked_sub(1).and_then(|n| self.stretches.get(n)) else { return 0 };
        // What the kernel took at its end was never the program's.
        let most = self.stretches.get(after).map_or(self.total, |next| next.total);
        (s.total + (at.min(s.to) - s.from)).min(most)
    }

    /// When it had used `total` ns of CPU time.
    pub(super) fn time_at(&self, total: u64) -> Option<u64> {
        let after = self.stretches.partition_point(|s| s.total <= total);
        let s = self.stretches.get(after.checked_sub(1)?)?;
        Some((s.from + (total - s.total)).min(s.to))
    }

    /// CPU time at which it left its CPU between two others.
    pub(super) fn left_between(&self, from: u64, to: u64) -> Option<u64> {
        let next = self.stretches.partition_point(|s| s.total <= from);
        self.stretches.get(next).map(|s| s.total).filter(|left| *left < to)
    }

    /// Where the program stood at a moment: behind what began by then, and before it left its CPU.
    pub(super) fn place_at(&self, at: u64) -> Place {
        let mut step = self.steps.partition_point(|s| s.at < at);
        while self.steps.get(step).is_some_and(|s| s.at == at && !s.leaves()) {
            step += 1;
        }
        self.place_of(step, at)
    }

    /// Where the program stood just before a moment.
    pub(super) fn place_until(&self, at: u64) -> Place {
        self.place_of(self.steps.partition_point(|s| s.at < at), at)
    }

    /// Who is asleep when the recording begins does nothing before that sleep is over.
    fn since_arrival(&self, step: usize) -> usize {
        let is_asleep = matches!(self.arrival, Some(Arrival::Asleep(_)));
        step.max(usize::from(is_asleep && !self.steps.is_empty()))
    }

    fn place_of(&self, step: usize, at: u64) -> Place {
        let step = self.since_arrival(step);
        let total = self.total_at(at);
        let least = step.checked_sub(1).map_or(0, |n| self.steps[n].total);
        let most = self.steps.get(step).map_or(self.total, |s| s.total);
        Place { step, total: total.clamp(least, most.max(least)) }
    }

    /// When it was first on a CPU after a step that left it.
    pub(super) fn came_after(&self, step: &Step) -> Option<u64> {
        let after = self.stretches.partition_point(|s| s.from <= step.at);
        Some(self.stretches.get(after)?.from)
    }

    /// Where it had used `total` ns, behind the interactions that stand there.
    pub(super) fn place_behind(&self, total: u64) -> Place {
        let step = self.steps.partition_point(|s| s.total <= total);
        Place { step: self.since_arrival(step), total }
    }

    /// Where it had used `total` ns, before the interactions that stand there.
    pub(super) fn place_before(&self, total: u64) -> Place {
        let step = self.steps.partition_point(|s| s.total < total);
        Place { step: self.since_arrival(step), total }
    }

    /// CPU time at its last sleep, mutexes aside, before a place; 0 where there is none.
    pub(super) fn slept_before(&self, place: Place) -> u64 {
        let steps = &self.steps[..place.step.min(self.steps.len())];
        steps.iter().rfind(|s| s.leaves()).map_or(0, |s| s.total)
    }

    /// CPU time at its first sleep, mutexes aside, between two places.
    pub(super) fn slept_between(&self, from: Place, to: Place) -> Option<u64> {
        let steps = self.steps.get(from.step..to.step.min(self.steps.len()))?;
        steps.iter().find(|s| s.leaves()).map(|s| s.total)
    }

    /// Whether the task asks for this lock at a moment.
    pub(super) fn asks_for(&self, lock: LockIndex, at: u64) -> bool {
        let from = self.steps.partition_point(|s| s.at < at);
        let asked = self.steps[from..].iter().take_while(|s| s.at == at);
        asked.into_iter().any(|s| matches!(s.op, Op::Lock(l) if l == lock))
    }

    /// Its first wakeup at or after a moment.
    pub(super) fn woken_after(&self, at: u64) -> Option<u64> {
        self.wakes.get(self.wakes.partition_point(|woken| *woken < at)).copied()
    }

    /// Its last wakeup in [from, to].
    pub(super) fn woken_between(&self, from: u64, to: u64) -> Option<u64> {
        let after = self.wakes.partition_point(|at| *at <= to);
        let at = *self.wakes.get(after.checked_sub(1)?)?;
        (from <= at).then_some(at)
    }

    /// The program with more steps at some places, in their order, and with busy waits before some
    /// steps; the second value holds the index of each step's op.
    ///
    /// A busy wait with a step in it is left as CPU time.
    pub(super) fn ops(
        &self,
        inserts: &[(Place, Op)],
        busy: &[(usize, Nanos)],
    ) -> (Vec<Op>, Vec<usize>) {
        let mut out = Ops { ops: Vec::with_capacity(2 * self.steps.len()), total: 0 };
        let mut indexes = Vec::with_capacity(self.steps.len());
        let mut inserts = inserts.iter().peekable();
        let mut busy = busy.iter().peekable();
        for (n, step) in self.steps.iter().enumerate() {
            let waits = busy.next_if(|(step, _)| *step == n);
            if let Some((_, span)) = waits
                && inserts.peek().is_none_or(|(place, _)| place.step > n)
            {
                out.ops.push(Op::BusyWait(*span));
                out.total = step.total;
            }
            while let Some((place, op)) = inserts.next_if(|(place, _)| place.step <= n) {
                out.push(place.total.min(step.total), *op);
            }
            out.push(step.total, step.op);
            indexes.push(out.ops.len() - 1);
        }
        for (place, op) in inserts {
            out.push(place.total.min(self.total), *op);
        }
        out.run_to(self.total);
        (out.ops, indexes)
    }
}

/// Ops with the CPU time between them.
struct Ops {
    ops: Vec<Op>,
    total: u64,
}

impl Ops {
    fn run_to(&mut self, total: u64) {
        if total > self.total {
            self.ops.push(Op::Compute(Nanos(total - self.total)));
            self.total = total;
        }
    }

    fn push(&mut self, total: u64, op: Op) {
        self.run_to(total);
        self.ops.push(op);
    }
}
