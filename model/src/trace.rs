//! A whole trace as what happened: tasks, CPUs, waits, and what is odd or missing.

use crate::interval::position;
use crate::{
    CpuId, CpuLine, FormatInfo, Hold, Host, Interval, LockId, LockKind, LockWait, Lost, LostWhat,
    Migration, Names, Nanos, Note, OwnerSpan, Queued, Response, SchedParams, SchedPolicy, TaskId,
    TaskInfo, TaskState, Timestamp, Wakeup, nice_of_prio,
};
use std::collections::BTreeMap;

/// One task over its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Identity.
    pub info: TaskInfo,
    /// Parameters from the sidecar, else from the latest priority that events show.
    pub sched: SchedParams,
    /// Kernel priority from each time on, boosts included; ordered, never twice the same in a row.
    pub prios: Vec<(Timestamp, i32)>,
    /// States in order, without holes or overlaps, from its first to its last moment in the trace.
    pub intervals: Vec<Interval>,
    /// Times it left a CPU.
    pub switches: u64,
    /// Its waits, as indexes into [`Trace::waits`].
    pub waits: Vec<usize>,
}

impl Task {
    /// The interval that covers `at`.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Interval> {
        position(&self.intervals, at).map(|index| &self.intervals[index])
    }

    /// From the first time on a CPU to the last time off one; 0 for who never ran.
    #[must_use]
    pub fn span(&self) -> Nanos {
        let ran = || self.intervals.iter().filter(|i| i.state.running_on().is_some());
        match (ran().next(), ran().next_back()) {
            (Some(first), Some(last)) => last.end.since(first.start),
            _ => Nanos(0),
        }
    }

    /// Intervals that overlap [from, to).
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> &[Interval] {
        let first = self.intervals.partition_point(|i| i.end <= from);
        let last = self.intervals.partition_point(|i| i.start < to);
        self.intervals.get(first..last).unwrap_or_default()
    }

    /// Kernel priority at a time; the first known one before that.
    #[must_use]
    pub fn prio_at(&self, at: Timestamp) -> Option<i32> {
        let after = self.prios.partition_point(|(from, _)| *from <= at);
        self.prios.get(after.saturating_sub(1)).map(|(_, prio)| *prio)
    }

    /// Time in states that `counts` accepts.
    #[must_use]
    pub fn time_in(&self, counts: impl Fn(TaskState) -> bool) -> Nanos {
        self.intervals.iter().filter(|i| counts(i.state)).map(|i| i.end.since(i.start)).sum()
    }
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Kind of its first wait; a mutex when only its calls are known.
    pub kind: LockKind,
    /// Who had it over the whole trace, in order, without holes.
    pub ownership: Vec<OwnerSpan>,
    /// The same as critical sections, ordered by their ends.
    pub holds: Vec<Hold>,
}

/// A trace, assembled.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Where it came from.
    pub format: Option<FormatInfo>,
    /// The sidecar, when there was one.
    pub host: Option<Host>,
    /// Names used by tasks.
    pub names: Names,
    /// First event.
    pub start: Timestamp,
    /// Last event.
    pub end: Timestamp,
    /// Tasks, indexed by [`TaskId`]; idle tasks are not among them.
    pub tasks: Vec<Task>,
    /// CPUs, ascending.
    pub cpus: Vec<CpuLine>,
    /// Locks that were waited for or called.
    pub locks: BTreeMap<LockId, Lock>,
    /// Lock waits, ordered by begin.
    pub waits: Vec<LockWait>,
    /// Wakeups, ordered by time.
    pub wakeups: Vec<Wakeup>,
    /// Migrations, ordered by time.
    pub migrations: Vec<Migration>,
    /// Responses, ordered by end.
    pub responses: Vec<Response>,
    /// What was odd, heaviest first.
    pub notes: Vec<Note>,
    /// Losses the file admits.
    pub lost: Vec<Lost>,
    /// Events of our vocabulary by their name in the kernel.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// Its length.
    #[must_use]
    pub fn span(&self) -> Nanos {
        self.end.since(self.start)
    }

    /// A task's name.
    ///
    /// # Panics
    ///
    /// For an id of another trace.
    #[must_use]
    pub fn name(&self, task: TaskId) -> &str {
        self.names.text(self.task(task).info.comm)
    }

    /// What the sidecar knows of a lock: its name, else the kernel functions that wait for it.
    #[must_use]
    pub fn lock_name(&self, lock: LockId) -> Option<String> {
        let (host, key) = (self.host.as_ref()?, lock.to_string());
        let users = || host.lock_users.get(&key).map(|users| users.join(", "));
        host.locks.get(&key).cloned().or_else(users)
    }

    /// A task.
    ///
    /// # Panics
    ///
    /// For an id of another trace.
    #[must_use]
    pub fn task(&self, task: TaskId) -> &Task {
        &self.tasks[task.index()]
    }

    /// All tasks with their ids.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        (0..).map(TaskId).zip(&self.tasks)
    }

    /// A CPU's line.
    #[must_use]
    pub fn cpu(&self, cpu: CpuId) -> Option<&CpuLine> {
        self.cpus.binary_search_by_key(&cpu, |line| line.cpu).ok().map(|index| &self.cpus[index])
    }

    /// The wait that `task` is in at a time; the innermost one when it is in several.
    #[must_use]
    pub fn wait_at(&self, task: TaskId, at: Timestamp) -> Option<&LockWait> {
        let waits = &self.task(task).waits;
        let after = waits.partition_point(|&w| self.waits[w].begin <= at);
        // A wait that began earlier is at most a few nested ones back.
        let recent = waits[..after].iter().rev().take(8);
        recent.map(|&w| &self.waits[w]).find(|w| at < w.until)
    }

    /// When the waiter was awake that the release of this hold woke; the release itself where it
    /// woke nobody.
    #[must_use]
    pub fn woken_by_release(&self, hold: &Hold) -> Timestamp {
        /// The wakeup follows its release at once.
        const SOON_NS: u64 = 50_000;
        let at = hold.released.latest;
        let first = self.wakeups.partition_point(|w| w.waking < at);
        let mut soon = self.wakeups[first..].iter().take_while(|w| w.waking.since(at).0 < SOON_NS);
        let wakeup = soon.find(|w| w.waker == Some(hold.task));
        wakeup.and_then(|w| w.arrival).unwrap_or(at)
    }

    /// Whether a task was preempted while it is known to have had this lock.
    #[must_use]
    pub fn preempts_holders_of(&self, lock: LockId) -> bool {
        let Some(lock) = self.locks.get(&lock) else { return false };
        lock.holds.iter().any(|hold| {
            let (from, to) = (hold.acquired.latest, hold.released.earliest);
            let states = self.tasks.get(hold.task.index()).map(|t| t.between(from, to));
            let mut after_first = states.unwrap_or_default().iter().skip(1);
            after_first.any(|i| matches!(i.state, TaskState::Runnable(_, Queued::Preempted)))
        })
    }

    /// Whether events of the schedule were lost at some time in [from, to].
    #[must_use]
    pub fn lossy(&self, from: Timestamp, to: Timestamp) -> bool {
        let mut lost = self.lost.iter().filter(|l| l.what == LostWhat::Events);
        lost.any(|l| l.after <= to && l.before >= from)
    }

    /// Whether events of this name are in the trace.
    #[must_use]
    pub fn has(&self, event: &str) -> bool {
        self.counts.get(event).is_some_and(|n| *n > 0)
    }
}

/// Parameters from the sidecar's entry, else from the kernel priority.
pub(crate) fn params(host: Option<&crate::HostTask>, prio: Option<i32>) -> SchedParams {
    let from_prio = match prio {
        Some(prio) if prio < 0 => {
            SchedParams { policy: SchedPolicy::Deadline, ..SchedParams::default() }
        }
        Some(prio) if prio < 100 => SchedParams {
            policy: SchedPolicy::Fifo,
            rt_priority: 99 - prio,
            ..SchedParams::default()
        },
        _ => {
            SchedParams { nice: prio.and_then(nice_of_prio).unwrap_or(0), ..SchedParams::default() }
        }
    };
    let Some(host) = host else { return from_prio };
    SchedParams {
        policy: host.policy.unwrap_or(from_prio.policy),
        nice: host.nice.unwrap_or(from_prio.nice).clamp(-20, 19),
        rt_priority: host.rt_priority.unwrap_or(from_prio.rt_priority).clamp(0, 99),
        runtime: Nanos(host.runtime_ns.unwrap_or(0)),
        deadline: Nanos(host.deadline_ns.unwrap_or(0)),
        period: Nanos(host.period_ns.unwrap_or(0)),
    }
}
