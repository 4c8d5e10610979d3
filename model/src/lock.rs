//! Waits for locks, and who owned the lock meanwhile.

use crate::{LockFlags, LockId, TaskId, Timestamp};

/// What sort of lock was waited for, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// `struct mutex`: the only kind that proxy execution covers.
    Mutex,
    /// `rw_semaphore`, to read.
    RwsemRead,
    /// `rw_semaphore`, to write.
    RwsemWrite,
    /// `rt_mutex`, also under PI futexes.
    RtMutex,
    /// Reader or writer lock of `PREEMPT_RT`, to read.
    RtRead,
    /// The same, to write.
    RtWrite,
    /// `percpu_rw_semaphore`, to read.
    PercpuRead,
    /// The same, to write.
    PercpuWrite,
    /// `struct semaphore`: it has no owner.
    Semaphore,
    /// A mutex of a program, which waits in a futex call.
    User,
    /// Spinlock: the waiter never sleeps.
    Spinlock,
    /// Spinning reader or writer lock, to read.
    SpinRead,
    /// The same, to write.
    SpinWrite,
}

impl LockKind {
    /// The kind that `contention_begin` flags name.
    ///
    /// # Source
    ///
    /// Kernel model 7.3; `LCB_F_*` in `include/trace/events/lock.h`.
    #[must_use]
    pub fn of_flags(flags: LockFlags) -> Self {
        let (read, write) = (flags.has(LockFlags::READ), flags.has(LockFlags::WRITE));
        let one_of = |r, w, neither| match (read, write) {
            (true, _) => r,
            (_, true) => w,
            _ => neither,
        };
        if flags.has(LockFlags::USER) {
            Self::User
        } else if flags.has(LockFlags::MUTEX) {
            Self::Mutex
        } else if flags.has(LockFlags::PERCPU) {
            one_of(Self::PercpuRead, Self::PercpuWrite, Self::PercpuWrite)
        } else if flags.has(LockFlags::RT) {
            one_of(Self::RtRead, Self::RtWrite, Self::RtMutex)
        } else if flags.has(LockFlags::SPIN) {
            one_of(Self::SpinRead, Self::SpinWrite, Self::Spinlock)
        } else {
            one_of(Self::RwsemRead, Self::RwsemWrite, Self::Semaphore)
        }
    }

    /// A stable name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::RwsemRead => "rwsem-read",
            Self::RwsemWrite => "rwsem-write",
            Self::RtMutex => "rt_mutex",
            Self::RtRead => "rt-rwlock-read",
            Self::RtWrite => "rt-rwlock-write",
            Self::PercpuRead => "percpu-read",
            Self::PercpuWrite => "percpu-write",
            Self::Semaphore => "semaphore",
            Self::User => "user-mutex",
            Self::Spinlock => "spinlock",
            Self::SpinRead => "rwlock-read",
            Self::SpinWrite => "rwlock-write",
        }
    }

    /// Whether proxy execution follows waits of this kind.
    #[must_use]
    pub fn is_proxied(self) -> bool {
        self == Self::Mutex
    }

    /// Whether waiters only ever spin.
    #[must_use]
    pub fn is_spinning(self) -> bool {
        matches!(self, Self::Spinlock | Self::SpinRead | Self::SpinWrite)
    }

    /// Whether at most one task owns it, and that task releases it.
    #[must_use]
    pub fn has_one_owner(self) -> bool {
        matches!(self, Self::Mutex | Self::RtMutex | Self::User)
    }
}

/// How well something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Events say so.
    Exact,
    /// Concluded from other events.
    Inferred,
    /// Nothing says so.
    Unknown,
}

impl Basis {
    /// A stable name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Inferred => "inferred",
            Self::Unknown => "unknown",
        }
    }
}

/// Who has a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This task.
    Held(TaskId),
    /// Nobody executes with it: it is free, or handed to somebody who does not know yet.
    Free,
    /// The trace does not say.
    Unknown,
}

/// Who has a lock over [from, to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerSpan {
    /// From here,
    pub from: Timestamp,
    /// to here, exclusive.
    pub to: Timestamp,
    /// Who.
    pub owner: Ownership,
    /// How well that is known.
    pub basis: Basis,
    /// How often such a conclusion is right, of a thousand: 1000 when exact, 0 when unknown.
    pub permille: u16,
}

/// When something happened that the trace may not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Not before this.
    pub earliest: Timestamp,
    /// Not after this.
    pub latest: Timestamp,
    /// An event says so, and the two are the same.
    pub is_seen: bool,
}

impl Edge {
    /// An event at this moment.
    #[must_use]
    pub fn seen(at: Timestamp) -> Self {
        Self { earliest: at, latest: at, is_seen: true }
    }
}

/// One critical section as the trace shows it: a task has a lock from its acquisition to its
/// release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub task: TaskId,
    /// When it got the lock.
    pub acquired: Edge,
    /// When it let go.
    pub released: Edge,
    /// Of a thousand owners concluded so, so many are right; 1000 when it is known.
    pub permille: u16,
    /// Somebody was queued all the time: it cannot have let go in between.
    pub is_watched: bool,
}

/// How a waiter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseKind {
    /// It tries and spins, when it is on a CPU.
    Spin,
    /// It is on the wait list.
    Queued,
}

/// A stretch of one wait; it lasts until the next phase or the wait's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Since when.
    pub from: Timestamp,
    /// How.
    pub kind: PhaseKind,
}

/// One task's wait for one lock, [begin, until).
///
/// A mutex wait may hold several `contention_begin`s: the first one begins it, the others
/// are its phases (kernel model 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// Who waits.
    pub waiter: TaskId,
    /// For what.
    pub lock: LockId,
    /// What sort of lock.
    pub kind: LockKind,
    /// First `contention_begin`.
    pub begin: Timestamp,
    /// `contention_end`, when the trace has it.
    pub end: Option<Timestamp>,
    /// To here it is known to go on; `end` where there is one.
    pub until: Timestamp,
    /// 0 when acquired, else `-errno`; `None` without an end.
    pub ret: Option<i32>,
    /// How it waited; never empty, the first one starts at `begin`.
    pub phases: Vec<Phase>,
    /// Who had the lock: covers [begin, until) without holes, empty when that is.
    pub ownership: Vec<OwnerSpan>,
}

impl LockWait {
    /// The owner when the wait began.
    #[must_use]
    pub fn owner_at_begin(&self) -> Option<TaskId> {
        match self.ownership.first()?.owner {
            Ownership::Held(task) => Some(task),
            Ownership::Free | Ownership::Unknown => None,
        }
    }

    /// How well the owner at the beginning is known.
    #[must_use]
    pub fn owner_basis(&self) -> Basis {
        self.ownership.first().map_or(Basis::Unknown, |span| span.basis)
    }

    /// The phase at a time inside the wait.
    #[must_use]
    pub fn phase_at(&self, at: Timestamp) -> PhaseKind {
        let after = self.phases.partition_point(|p| p.from <= at);
        let phase = after.checked_sub(1).and_then(|index| self.phases.get(index));
        phase.map_or(PhaseKind::Spin, |p| p.kind)
    }

    /// Who has the lock at a time inside the wait.
    #[must_use]
    pub fn owner_at(&self, at: Timestamp) -> Option<&OwnerSpan> {
        let after = self.ownership.partition_point(|s| s.from <= at);
        self.ownership.get(after.checked_sub(1)?).filter(|s| at < s.to)
    }
}
