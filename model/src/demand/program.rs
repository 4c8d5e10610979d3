//! A task's program while it is being built, op by op.

use super::sleep::TimerSleep;
use super::{Arrival, LockIndex, Op, SchedParams};
use crate::{LockFlags, Nanos, PrevState, TaskId};

/// A wait that a task has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep {
    pub(super) since: u64,
    pub(super) state: PrevState,
    pub(super) on: Option<(LockIndex, LockFlags)>,
    /// Part of a mutex acquisition: the replay recreates it.
    pub(super) in_mutex: bool,
    /// A timer of its own was armed (expiry, when, CPU time at that moment).
    pub(super) timer: Option<(u64, u64, u64)>,
}

/// A wakeup by a task of somebody who is still on a CPU, perhaps on its way to sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlyWake {
    pub(super) waker: TaskId,
    /// Where the waker's program was.
    pub(super) mark: Mark,
}

/// A `contention_begin` without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contending {
    pub(super) lock: LockIndex,
    pub(super) flags: LockFlags,
    pub(super) spinning: bool,
}

/// A point in a program: before op `op`, after `into` ns of the compute that stands there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) op: usize,
    pub(super) into: u64,
}

#[derive(Debug, Default)]
pub(super) struct Build {
    pub(super) ops: Vec<Op>,
    pub(super) arrival: Option<Arrival>,
    pub(super) sched: Option<SchedParams>,
    pub(super) first_sched: SchedParams,
    /// Up to here its CPU time is counted; `None` off CPU.
    pub(super) on_cpu: Option<u64>,
    /// CPU time when it came to its CPU.
    pub(super) total_before: u64,
    /// CPU time since the last op, and since the beginning.
    pub(super) compute: u64,
    pub(super) total: u64,
    /// CPU time at which it last slept, mutexes aside.
    pub(super) slept_at: u64,
    pub(super) asleep: Option<Asleep>,
    pub(super) early_wake: Option<EarlyWake>,
    pub(super) contending: Option<Contending>,
    pub(super) entered: Option<LockIndex>,
    pub(super) failed_entry: Option<usize>,
    pub(super) held: Vec<LockIndex>,
    pub(super) holds: Vec<LockIndex>,
    pub(super) timer: Option<(u64, u64, u64)>,
    pub(super) timer_sleeps: Vec<TimerSleep>,
    pub(super) woken: Mark,
    /// Where it came to its CPU.
    pub(super) came: Mark,
    /// When it ended.
    pub(super) exited: Option<u64>,
}

impl Build {
    /// It comes to a CPU.
    pub(super) fn come(&mut self, at: u64) {
        self.on_cpu = Some(at);
        self.total_before = self.total;
        self.came = self.mark(at);
    }

    /// It has left its CPU: how long its program ran there.
    pub(super) fn leave(&mut self) -> Nanos {
        let span = self.total.saturating_sub(self.total_before);
        self.total_before = self.total;
        Nanos(span)
    }

    pub(super) fn is_spinning(&self) -> bool {
        self.contending.is_some_and(|c| c.spinning)
    }

    /// Adds the CPU time up to `at`, unless it was spinning.
    pub(super) fn run_to(&mut self, at: u64) {
        let spinning = self.is_spinning();
        if let Some(since) = self.on_cpu.as_mut() {
            let span = at.saturating_sub(*since);
            *since = at;
            if !spinning {
                self.compute += span;
                self.total += span;
            }
        }
    }

    /// Takes back CPU time that was the kernel's own on its way to a switch.
    ///
    /// Spinning was never counted, nor is what went before the latest interaction touched, nor what
    /// an earlier stretch on a CPU counted.
    pub(super) fn forget(&mut self, overhead: u64) {
        let counted = self.total.saturating_sub(self.total_before);
        let overhead = if self.is_spinning() { 0 } else { overhead.min(counted).min(self.compute) };
        self.compute -= overhead;
        self.total -= overhead;
    }

    pub(super) fn flush(&mut self) {
        if self.compute > 0 {
            self.ops.push(Op::Compute(Nanos(self.compute)));
            self.compute = 0;
        }
    }

    pub(super) fn push(&mut self, op: Op) -> usize {
        self.flush();
        self.ops.push(op);
        self.ops.len() - 1
    }

    pub(super) fn mark(&self, at: u64) -> Mark {
        Mark { at, op: self.ops.len(), into: self.compute }
    }

    /// Inserts an op at a mark made earlier, splitting the compute that stands there.
    pub(super) fn insert(&mut self, mark: Mark, op: Op) {
        if mark.op >= self.ops.len() {
            let rest = self.compute.saturating_sub(mark.into);
            self.compute = mark.into.min(self.compute);
            self.push(op);
            self.compute = rest;
        } else {
            let mut pieces = vec![op];
            let mut at = mark.op;
            if let Op::Compute(span) = self.ops[mark.op]
                && mark.into > 0
            {
                self.ops[mark.op] = Op::Compute(Nanos(mark.into.min(span.0)));
                at += 1;
                if span.0 > mark.into {
                    pieces.push(Op::Compute(Nanos(span.0 - mark.into)));
                }
            }
            let n = pieces.len();
            if let Some(entry) = self.failed_entry.as_mut().filter(|entry| **entry >= at) {
                *entry += n;
            }
            self.ops.splice(at..at, pieces);
            if self.came.op > at {
                self.came.op += n;
            }
            for sleep in &mut self.timer_sleeps {
                if sleep.op >= at {
                    sleep.op += n;
                }
            }
        }
        self.woken = self.mark(self.woken.at.max(mark.at));
    }

    /// As [`Self::insert`], for a step of its own that is only now known to have been one.
    pub(super) fn insert_step(&mut self, mark: Mark, op: Op) {
        let (woken, before) = (self.woken, self.ops.len());
        self.insert(mark, op);
        let added = if mark.op < before { self.ops.len() - before } else { 0 };
        let moved = if woken.op > mark.op { added } else { 0 };
        self.woken = Mark { op: woken.op + moved, ..woken };
    }

    /// As [`Self::mark_at`], but at the end of the compute that reaches it: before the
    /// interactions that stand there, not behind them.
    pub(super) fn mark_before(&self, at: u64, total: u64) -> Mark {
        let mut back = self.total.saturating_sub(total);
        if back < self.compute {
            return Mark { at, op: self.ops.len(), into: self.compute - back };
        }
        back -= self.compute;
        for (op, what) in self.ops.iter().enumerate().rev() {
            if let Op::Compute(span) = what {
                if back < span.0 {
                    return Mark { at, op, into: span.0 - back };
                }
                back -= span.0;
            }
        }
        Mark { at, op: 0, into: 0 }
    }

    /// The point at which the task had used `total` ns of CPU time.
    pub(super) fn mark_at(&self, at: u64, total: u64) -> Mark {
        let mut back = self.total.saturating_sub(total);
        if back <= self.compute {
            return Mark { at, op: self.ops.len(), into: self.compute - back };
        }
        back -= self.compute;
        for (op, what) in self.ops.iter().enumerate().rev() {
            if let Op::Compute(span) = what {
                if back <= span.0 {
                    return Mark { at, op, into: span.0 - back };
                }
                back -= span.0;
            }
        }
        Mark { at, op: 0, into: 0 }
    }
}
