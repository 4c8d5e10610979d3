//! What a task was doing, and from when to when.

use crate::{CpuId, LockId, PrevState, Timestamp};

/// Why a task is runnable and not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queued {
    /// It was woken and has not run since.
    Woken,
    /// It left its CPU without wanting to: preempted, at the end of its slice, or throttled.
    Preempted,
}

/// The state of a task at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// The trace does not say.
    #[default]
    Unknown,
    /// Executing.
    Running(CpuId),
    /// Wants a CPU and has none. `None`: it is not known on which runqueue.
    Runnable(Option<CpuId>, Queued),
    /// Waits for something that is not a lock.
    Sleeping(PrevState),
    /// Off its CPU inside a wait for this lock, not woken yet.
    ///
    /// Under proxy execution it may lend its time: see [`crate::Donation`].
    Blocked(LockId),
    /// It is no more.
    Exited,
}

impl TaskState {
    /// The CPU, when it is executing.
    #[must_use]
    pub fn running_on(self) -> Option<CpuId> {
        if let Self::Running(cpu) = self { Some(cpu) } else { None }
    }
}

/// One state of one task over [start, end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// From here,
    pub start: Timestamp,
    /// to here, exclusive.
    pub end: Timestamp,
    /// What it was doing.
    pub state: TaskState,
}

/// Where `at` lies in a list ordered by start; `None` outside.
pub(crate) fn position(list: &[Interval], at: Timestamp) -> Option<usize> {
    let after = list.partition_point(|i| i.start <= at);
    let index = after.checked_sub(1)?;
    (at < list[index].end).then_some(index)
}
