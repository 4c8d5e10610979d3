//! One moment of a wait, and until when it stays as it is.

use crate::part::Part;
use crate::urgency::Urgency;
use model::{
    CpuId, LockWait, OnCpu, Ownership, PhaseKind, Queued, TaskId, TaskState, Timestamp, Trace,
};

/// Why the waiter did not have the lock at one moment.
pub(super) struct Answer {
    pub part: Part,
    pub owner: Option<TaskId>,
    pub instead: Option<TaskId>,
    pub depth: u32,
}

impl Answer {
    fn of(part: Part) -> Self {
        Self { part, owner: None, instead: None, depth: 0 }
    }
}

/// Looks at one moment; every lookup moves `until` to the first change of what was seen.
pub(super) struct Look<'t> {
    trace: &'t Trace,
    waiter: TaskId,
    at: Timestamp,
    pub until: Timestamp,
    /// Owners met so far.
    chain: Vec<TaskId>,
}

impl<'t> Look<'t> {
    pub(super) fn new(trace: &'t Trace, waiter: TaskId, at: Timestamp, until: Timestamp) -> Self {
        Self { trace, waiter, at, until, chain: Vec::new() }
    }

    pub(super) fn answer(&mut self, wait: &LockWait) -> Answer {
        if self.state(self.waiter).running_on().is_some() {
            return Answer::of(Part::Spinning);
        }
        match self.owner(wait) {
            Ownership::Unknown => Answer::of(Part::Unknown),
            Ownership::Free => match self.heir(wait) {
                Some(heir) => self.chain_from(heir),
                None => self.released(),
            },
            Ownership::Held(task) if task == self.waiter => self.released(),
            Ownership::Held(task) => self.chain_from(task),
        }
    }

    fn chain_from(&mut self, task: TaskId) -> Answer {
        let (part, instead) = self.follow(task);
        let owner = self.chain.last().copied();
        let depth = u32::try_from(self.chain.len()).unwrap_or(u32::MAX);
        Answer { part, owner, instead, depth }
    }

    /// Another waiter, awake, that gets the free lock before this one does.
    fn heir(&mut self, wait: &LockWait) -> Option<TaskId> {
        let next = wait.ownership.partition_point(|s| s.from <= self.at);
        let next = wait.ownership.get(next)?;
        let Ownership::Held(heir) = next.owner else { return None };
        let is_awake = matches!(self.state(heir), TaskState::Running(_) | TaskState::Runnable(..));
        let waits = self.wait_of(heir).is_some_and(|w| w.lock == wait.lock);
        (heir != self.waiter && is_awake && waits).then_some(heir)
    }

    /// The lock is there for the waiter: who has its CPU?
    fn released(&mut self) -> Answer {
        let instead = self.less_urgent_in_place();
        Answer { instead, ..Answer::of(Part::Released) }
    }

    fn less_urgent_in_place(&mut self) -> Option<TaskId> {
        let TaskState::Runnable(Some(cpu), _) = self.state(self.waiter) else { return None };
        let stretch = self.trace.cpu(cpu)?.at(self.at)?;
        self.changes_at(stretch.end);
        let OnCpu::Task(running) = stretch.on_cpu else { return None };
        (self.urgency(running) < self.urgency(self.waiter)).then_some(running)
    }

    fn changes_at(&mut self, at: Timestamp) {
        if self.at < at {
            self.until = self.until.min(at);
        }
    }

    fn state(&mut self, task: TaskId) -> TaskState {
        let task = self.trace.task(task);
        if let Some(interval) = task.at(self.at) {
            self.changes_at(interval.end);
            return interval.state;
        }
        let next = task.intervals.partition_point(|i| i.start <= self.at);
        if let Some(interval) = task.intervals.get(next) {
            self.changes_at(interval.start);
        }
        TaskState::Unknown
    }

    fn owner(&mut self, wait: &LockWait) -> Ownership {
        let Some(span) = wait.owner_at(self.at) else { return Ownership::Unknown };
        self.changes_at(span.to);
        span.owner
    }

    /// The wait that a task is in now.
    fn wait_of(&mut self, task: TaskId) -> Option<&'t LockWait> {
        let trace = self.trace;
        let waits = &trace.task(task).waits;
        let next = waits.partition_point(|&w| trace.waits[w].begin <= self.at);
        if let Some(&index) = waits.get(next) {
            self.changes_at(trace.waits[index].begin);
        }
        let wait = trace.wait_at(task, self.at)?;
        self.changes_at(wait.until);
        Some(wait)
    }

    fn phase(&mut self, wait: &LockWait) -> PhaseKind {
        let next = wait.phases.partition_point(|p| p.from <= self.at);
        if let Some(next) = wait.phases.get(next) {
            self.changes_at(next.from);
        }
        wait.phase_at(self.at)
    }

    /// The state of the chain's end.
    fn follow(&mut self, task: TaskId) -> (Part, Option<TaskId>) {
        if task == self.waiter || self.chain.contains(&task) {
            return (Part::OwnerBlocked, None);
        }
        self.chain.push(task);
        match self.state(task) {
            TaskState::Running(_) => self.follow_spinner(task),
            TaskState::Runnable(Some(cpu), why) => self.behind(task, cpu, why),
            TaskState::Sleeping(_) => (Part::OwnerAsleep, None),
            TaskState::Blocked(_) => match self.wait_of(task) {
                Some(wait) => match self.owner(wait) {
                    Ownership::Held(next) => self.follow(next),
                    Ownership::Free | Ownership::Unknown => (Part::OwnerBlocked, None),
                },
                None => (Part::OwnerBlocked, None),
            },
            TaskState::Runnable(None, _) | TaskState::Unknown | TaskState::Exited => {
                (Part::Unknown, None)
            }
        }
    }

    /// An owner on a CPU computes, unless it spins for a sleeping lock whose owner is known.
    fn follow_spinner(&mut self, task: TaskId) -> (Part, Option<TaskId>) {
        let computes = (Part::OwnerRunning, None);
        let wait = self.wait_of(task).filter(|w| !w.kind.is_spinning());
        let Some(wait) = wait else { return computes };
        if self.phase(wait) != PhaseKind::Spin {
            return computes;
        }
        match self.owner(wait) {
            Ownership::Held(next) if next != task => self.follow(next),
            _ => computes,
        }
    }

    /// An owner that is queued on `cpu`.
    fn behind(&mut self, task: TaskId, cpu: CpuId, why: Queued) -> (Part, Option<TaskId>) {
        let Some(line) = self.trace.cpu(cpu) else { return (Part::Unknown, None) };
        let Some(stretch) = line.at(self.at) else { return (Part::Unknown, None) };
        self.changes_at(stretch.end);
        let running = match stretch.on_cpu {
            OnCpu::Unknown => return (Part::Unknown, None),
            // It was put off its CPU for nobody: its class refuses it.
            OnCpu::Idle if why == Queued::Preempted => return (Part::OwnerThrottled, None),
            OnCpu::Idle => return (Part::BehindMoreUrgent, None),
            OnCpu::Task(running) if running == task => return (Part::Unknown, None),
            OnCpu::Task(running) => running,
        };
        let (donation, change) = line.donation_at(self.at);
        if let Some(change) = change {
            self.changes_at(change);
        }
        let pays = donation.filter(|d| d.running == running).map_or(running, |d| d.donor);
        let (theirs, mine) = (self.urgency(pays), self.urgency(self.waiter));
        if why == Queued::Preempted && theirs.class < self.urgency(task).class {
            return (Part::OwnerThrottled, Some(running));
        }
        let part = if theirs < mine { Part::BehindLessUrgent } else { Part::BehindMoreUrgent };
        (part, Some(running))
    }

    fn urgency(&mut self, task: TaskId) -> Urgency {
        let prios = &self.trace.task(task).prios;
        let next = prios.partition_point(|(from, _)| *from <= self.at);
        if let Some(&(from, _)) = prios.get(next) {
            self.changes_at(from);
        }
        Urgency::of(self.trace, task, self.at)
    }
}
