//! Changes of runqueue.

use crate::{Basis, CpuId, TaskId, Timestamp};

/// Which way a task changed runqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationKind {
    /// By `sched_migrate_task`.
    Ordinary,
    /// A blocked donor's scheduling context went to its owner's CPU.
    Donor,
    /// A donor came back from there in its wakeup.
    Return,
}

impl MigrationKind {
    /// A stable name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Donor => "donor",
            Self::Return => "return",
        }
    }
}

/// One change of runqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// When; for an inferred donor migration, when it came to light.
    pub at: Timestamp,
    /// Who.
    pub task: TaskId,
    /// From here.
    pub from: CpuId,
    /// To here.
    pub to: CpuId,
    /// Which way.
    pub kind: MigrationKind,
    /// Donor migrations of a recorded kernel are silent and inferred.
    pub basis: Basis,
}
