//! Wakeups: who, when, where to, and how long until it ran.

use crate::{Context, CpuId, Nanos, TaskId, Timestamp};

/// One wakeup, from `sched_waking` to the first time on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// The woken task.
    pub task: TaskId,
    /// The task that was running where the wakeup was made; `None` for an idle task.
    ///
    /// In an interrupt it is the interrupted task and did not wake anybody.
    pub waker: Option<TaskId>,
    /// In which context it was made.
    pub context: Context,
    /// `sched_waking`, or `sched_wakeup` where the former is not recorded.
    pub waking: Timestamp,
    /// `sched_wakeup`: on a runqueue.
    pub arrival: Option<Timestamp>,
    /// That runqueue's CPU. The CPU in `sched_waking` is the previous one and is not kept.
    pub cpu: Option<CpuId>,
    /// First switch to it.
    pub first_run: Option<Timestamp>,
    /// Whether it is a new task's first one.
    pub is_first: bool,
}

impl Wakeup {
    /// From the wakeup to the CPU.
    #[must_use]
    pub fn latency(&self) -> Option<Nanos> {
        Some(self.first_run?.since(self.waking))
    }

    /// The waker, when a task and not an interrupt made the wakeup.
    #[must_use]
    pub fn waker_task(&self) -> Option<TaskId> {
        self.waker.filter(|_| matches!(self.context, Context::Task | Context::Unknown))
    }
}
