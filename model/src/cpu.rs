//! Who was on a CPU, and on whose time.

use crate::{CpuId, TaskId, Timestamp};

/// What a CPU executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCpu {
    /// The trace does not say.
    #[default]
    Unknown,
    /// Its idle task.
    Idle,
    /// A task.
    Task(TaskId),
}

/// One uninterrupted stretch of one CPU: [start, end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From here,
    pub start: Timestamp,
    /// to here, exclusive.
    pub end: Timestamp,
    /// Who executes.
    pub on_cpu: OnCpu,
}

/// All stretches of one CPU, in order, without holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuLine {
    /// Which CPU.
    pub cpu: CpuId,
    /// Its stretches.
    pub stretches: Vec<Stretch>,
    /// Its donations, in order; they do not overlap.
    pub donations: Vec<Donation>,
}

/// Over [start, end), `running` executes on the scheduling context of `donor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Donation {
    /// Where.
    pub cpu: CpuId,
    /// Whose entitlement is spent.
    pub donor: TaskId,
    /// Who executes.
    pub running: TaskId,
    /// From here,
    pub start: Timestamp,
    /// to here, exclusive.
    pub end: Timestamp,
}

impl CpuLine {
    /// The stretch that covers `at`.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Stretch> {
        let after = self.stretches.partition_point(|s| s.start <= at);
        self.stretches.get(after.checked_sub(1)?).filter(|s| at < s.end)
    }

    /// The donation that covers `at`, and when that next changes.
    #[must_use]
    pub fn donation_at(&self, at: Timestamp) -> (Option<&Donation>, Option<Timestamp>) {
        let after = self.donations.partition_point(|d| d.start <= at);
        let covering =
            after.checked_sub(1).and_then(|index| self.donations.get(index)).filter(|d| at < d.end);
        let change = match covering {
            Some(d) => Some(d.end),
            None => self.donations.get(after).map(|d| d.start),
        };
        (covering, change)
    }
}
