//! What the kernel decides, and what is left to the programs.

use model::demand::LockIndex;
use model::{CpuId, LockFlags, Op, TaskId};

/// What one event of a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A switch: who goes and who comes, and when, is decided. How the one who goes leaves (its
    /// state) and which priorities they have is the programs'.
    Switch,
    /// An interrupt came, and what it wakes sleeps. That this ends the sleep is the program's.
    Interrupt(TaskId),
    /// A step of a program: [`Told::expected`] at this index.
    Step(usize),
    /// The recording does not say whether a task or an interrupt woke this one: the sleeper's
    /// program says it.
    Either(TaskId, usize),
    /// A wakeup of somebody who is awake, or waits for a mutex: nothing in a program ends by it.
    Idle(TaskId),
    /// Decided, or nothing that a demand speaks of: which runqueue, which lock answers and how,
    /// boosts, timers, spinlocks, names.
    Decided,
}

/// A step of a program that takes no time and that a recording can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Lock(LockIndex),
    /// An attempt that acquires nothing.
    Fail(LockIndex),
    Try(LockIndex),
    Unlock(LockIndex),
    Wake(TaskId),
    Fork(TaskId),
    /// A wait for a lock that the demand does not acquire by itself begins, and is over.
    Begin(LockIndex, u32),
    End(LockIndex, i32),
}

impl Step {
    pub(super) fn of(op: &Op) -> Option<Self> {
        Some(match *op {
            Op::Lock(lock) | Op::LockInterruptible(lock) => Self::Lock(lock),
            Op::TryLock { lock, acquired: true } => Self::Try(lock),
            Op::TryLock { lock, acquired: false } => Self::Fail(lock),
            Op::Unlock(lock) => Self::Unlock(lock),
            Op::Wake { target } => Self::Wake(target),
            Op::Fork { child } => Self::Fork(child),
            Op::Contend { lock, flags: LockFlags(flags) } => Self::Begin(lock, flags),
            Op::Contended { lock, ret } => Self::End(lock, ret),
            _ => return None,
        })
    }
}

/// A step that a recording shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub at: u64,
    pub cpu: CpuId,
    pub task: TaskId,
    pub step: Step,
}

/// Why a stretch on a CPU ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The kernel took the CPU away.
    Preempted,
    /// It waits for a mutex.
    InLock,
    /// Its program says so: it sleeps or ends.
    Itself,
    /// The recording lacks the switch.
    Vanished,
    /// The recording ends.
    Cut,
}

/// A span in which a task was in the code of a lock instead of running its program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spin {
    pub lock: LockIndex,
    pub from: u64,
    pub to: u64,
}

/// One stretch of a task on a CPU.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    pub task: TaskId,
    pub cpu: CpuId,
    pub from: u64,
    pub left: u64,
    /// How long its program ran in it.
    pub program: u64,
    pub why: Why,
    pub spins: Vec<Spin>,
    /// Steps that the recording shows in it, by index into [`Told::expected`].
    ///
    /// They say on which side of a switch a step falls that stands exactly at it; not more.
    pub shown: Vec<usize>,
}

/// A recording, taken apart.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What each event is.
    pub parts: Vec<Part>,
    pub expected: Vec<Expected>,
    /// In the order in which they end.
    pub stints: Vec<Stint>,
    /// Whether the calls of mutexes are recorded, and not their contention alone.
    pub shows_calls: bool,
}
