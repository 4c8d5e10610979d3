//! One task while events are walked: its state, and the list of the past ones.

use crate::{CpuId, Interval, PrevState, Queued, TaskState, Timestamp, Wakeup};

/// A task being assembled. Starts unknown.
#[derive(Debug)]
pub(super) struct TaskLine {
    pub(super) intervals: Vec<Interval>,
    pub(super) state: TaskState,
    pub(super) since: Timestamp,
    pub(super) prios: Vec<(Timestamp, i32)>,
    pub(super) switches: u64,
    /// Where it last ran.
    pub(super) last_cpu: Option<CpuId>,
    /// Its latest wakeup without a first run, as an index.
    pub(super) wakeup: Option<usize>,
    /// Its wakeup while still running: it counts when the task leaves its CPU asleep.
    pub(super) early_wakeup: Option<Wakeup>,
    /// Its scheduling context is on another CPU than it ran on.
    pub(super) is_away: bool,
}

impl TaskLine {
    pub(super) fn new(since: Timestamp) -> Self {
        Self {
            intervals: Vec::new(),
            state: TaskState::Unknown,
            since,
            prios: Vec::new(),
            switches: 0,
            last_cpu: None,
            wakeup: None,
            early_wakeup: None,
            is_away: false,
        }
    }

    /// From `at` on it is in `state`. An empty interval leaves no trace.
    pub(super) fn enter(&mut self, at: Timestamp, state: TaskState) {
        if self.since < at {
            match self.intervals.last_mut() {
                Some(last) if last.state == self.state && last.end == self.since => last.end = at,
                _ => {
                    let interval = Interval { start: self.since, end: at, state: self.state };
                    self.intervals.push(interval);
                }
            }
        }
        self.since = at;
        self.state = state;
    }

    /// What its present state has been all along, now that an event tells.
    pub(super) fn was(&mut self, state: TaskState) {
        if self.state == TaskState::Unknown {
            self.state = state;
        }
    }

    /// It had been asleep if nothing says otherwise.
    pub(super) fn was_asleep(&mut self) {
        self.was(TaskState::Sleeping(PrevState::Unknown));
    }

    /// It is on the runqueue of `cpu`, or on its way there.
    pub(super) fn queue_on(&mut self, at: Timestamp, cpu: CpuId) {
        match self.state {
            TaskState::Runnable(None, why) => self.state = TaskState::Runnable(Some(cpu), why),
            TaskState::Runnable(Some(was), why) if was != cpu => {
                self.enter(at, TaskState::Runnable(Some(cpu), why));
            }
            _ => {}
        }
    }

    /// Wakes a task that is off its CPU.
    pub(super) fn wake(&mut self, at: Timestamp, cpu: Option<CpuId>) {
        self.enter(at, TaskState::Runnable(cpu, Queued::Woken));
    }

    pub(super) fn set_prio(&mut self, at: Timestamp, prio: i32) {
        if self.prios.last().is_none_or(|(_, last)| *last != prio) {
            self.prios.push((at, prio));
        }
    }
}
