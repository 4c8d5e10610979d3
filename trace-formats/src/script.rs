//! `*.sched`: scenarios written by hand, with the schedule each policy must answer with.
//!
//! All times are milliseconds with up to six decimals, read as whole
//! nanoseconds. `#` starts a comment. A file has three parts.
//!
//! **The machine**, one setting a line, all optional:
//!
//! ```text
//! cpus 2              CPUs 0 and 1; default 1
//! per-core 2          CPUs 0 and 1 share a core, and so on; default 1
//! per-cache 4         CPUs that share a last-level cache; default all
//! per-node 4          CPUs of a node; default all
//! hz 1000             ticks per second
//! tick-phase 0        distance of the ticks from whole periods
//! hrtick on           whether slice ends are timed precisely
//! slice 2.8           EEVDF base slice; default as a kernel on this many CPUs
//! preemption full     or lazy, voluntary, none
//! end 20              the drawn part ends here; for endless tasks
//! rwsem m             m is an rwsem (locked for writing), not a mutex
//! rt-mutex m          m is an rt_mutex, as the kernel's side of a PI futex is
//! group g weight 200  a cgroup and its cpu.weight; `group h in g weight 50` is one in g
//! not yet: REASON     what is missing before this scenario can run
//! ```
//!
//! **The tasks**, one each, continued on indented lines: a name, attributes, steps.
//! Tasks that arrive at one instant arrive in the order of their lines.
//!
//! ```text
//! L  fair nice 5  cpu 1  at 0  lock m  run 4  unlock m
//! ```
//!
//! Classes are `fair`, `batch`, `idle` (each with `nice N`), `fifo N`, `rr N`,
//! `dl BUDGET DEADLINE PERIOD` and `stop`. `slice S` is a fair task's own slice. A task starts on
//! `cpu N` (default 0) and is pinned there unless `allowed N,N` follows. It becomes
//! runnable `at T` (default 0), or begins `asleep`: then its first step is a sleep or a wait.
//! `in g` puts it into a cgroup; `holds m` gives it a mutex at the start; `vruntime V deadline D` place a fair task in
//! virtual time; `lag G` is what a task that begins asleep is owed.
//!
//! Steps are `run T`, `lock M`, `lock-interruptible M`, `trylock M`, `unlock M`, `sleep T`,
//! `sleep-until T`, `wait`, `wake TASK`, `signal TASK`, `yield`, `exit`. A failed `trylock` skips
//! its `unlock`, and nothing else; a `lock-interruptible` that a signal ends skips all up to its
//! `unlock`.
//! A task exits after its last step.
//!
//! **The expectations**, one block for the policies it names; `POLICY+SWITCH` is a policy with one
//! mechanism more, `POLICY!SWITCH` with one less:
//!
//! ```text
//! -- expect pe-7.3
//! CPU0 L[0-1] M[1-2] H[2-3] L(H)[3-6] H[6-7] M[7-16]
//! acq H m 6
//! charged L 1 H 5 M 10
//! ```
//!
//! One `CPU` line for every CPU: `L(H)[3-6]` is L executing on H's scheduling context,
//! `L*` is L spinning, `-` is idle. Then, as wanted: `acq TASK LOCK TIME...`, each time the
//! task obtains the lock; `charged TASK TIME ...`, CPU time spent on each task's scheduling
//! context; `moves TASK FROM>TO@TIME ...`, its changes of runqueue. A block ends at a blank line.

mod expectation;
mod machine;
mod millis;
mod parse;
mod task;
#[cfg(test)]
mod tests;

pub use millis::Millis;
pub use parse::parse;

use crate::{CpuId, Nanos, Timestamp};

/// A parsed scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The machine it plays on.
    pub machine: Machine,
    /// Its tasks, in the order of their lines.
    pub tasks: Vec<Task>,
    /// Its cgroups, parents first.
    pub groups: Vec<Group>,
    /// Names of its locks, in the order of their first mention.
    pub locks: Vec<String>,
    /// What they are, where not mutexes.
    pub kinds: Vec<(usize, LockKind)>,
    /// Why it cannot run yet.
    pub not_yet: Option<String>,
    /// What each policy must answer.
    pub expectations: Vec<Expectation>,
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The group it is in, as an index into [`Script::groups`]; `None`: the root.
    pub parent: Option<usize>,
    /// `cpu.weight`, 1..=10000.
    pub weight: u32,
}

/// The machine of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPUs `0..cpus`.
    pub cpus: u32,
    /// CPUs that share a core, in order of their numbers.
    pub cpus_per_core: u32,
    /// CPUs that share a last-level cache.
    pub cpus_per_cache: u32,
    /// CPUs of a node.
    pub cpus_per_node: u32,
    /// Ticks per second.
    pub hz: u32,
    /// Distance of the ticks from whole periods.
    pub tick_phase: Nanos,
    /// Whether slice ends are timed precisely.
    pub hrtick: bool,
    /// EEVDF base slice.
    pub base_slice: Nanos,
    /// Preemption model.
    pub preemption: Preemption,
    /// Where the drawn part ends, for endless tasks.
    pub end: Option<Timestamp>,
}

/// Locks that are not mutexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// An rwsem, locked for writing.
    Rwsem,
    /// An `rt_mutex`, or the kernel's side of a PI futex.
    RtMutex,
}

/// Preemption models, as the kernel's `preempt=` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// `none`.
    None,
    /// `voluntary`.
    Voluntary,
    /// `lazy`.
    Lazy,
    /// `full`.
    Full,
}

/// One task of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its class and priority.
    pub class: Class,
    /// A fair task's own slice.
    pub slice: Option<Nanos>,
    /// The CPU it starts on.
    pub cpu: CpuId,
    /// CPUs it may run on.
    pub allowed: Vec<CpuId>,
    /// How it begins.
    pub start: Start,
    /// Its place in virtual time, when the scenario fixes one.
    pub fair: Option<FairPlace>,
    /// Its cgroup, as an index into [`Script::groups`].
    pub group: Option<usize>,
    /// Mutexes it holds at the start, as indexes into [`Script::locks`].
    pub holds: Vec<usize>,
    /// What it does.
    pub steps: Vec<Step>,
}

/// Scheduling class of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `SCHED_OTHER` at a nice level.
    Fair(i32),
    /// `SCHED_BATCH` at a nice level.
    Batch(i32),
    /// `SCHED_IDLE` at a nice level.
    Idle(i32),
    /// `SCHED_FIFO` at a priority.
    Fifo(i32),
    /// `SCHED_RR` at a priority.
    Rr(i32),
    /// `SCHED_DEADLINE`.
    Deadline {
        /// CPU time per period.
        budget: Nanos,
        /// Relative deadline.
        deadline: Nanos,
        /// Period.
        period: Nanos,
    },
    /// The stop class, ahead of all others.
    Stop,
}

/// How a task begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Runnable at this time.
    At(Timestamp),
    /// Asleep; its first step is a sleep or a wait.
    Asleep,
}

/// A fair task's place in virtual time; nanoseconds of CPU time at nice 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairPlace {
    /// `vruntime`, relative to the queue's zero.
    pub vruntime_ns: i64,
    /// Virtual deadline, relative to the same zero.
    pub deadline_ns: i64,
    /// Lag saved while asleep; positive: the task is owed service.
    pub lag_ns: i64,
}

/// One step of a task. Locks are indexes into [`Script::locks`], tasks into [`Script::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Compute.
    Run(Nanos),
    /// Acquire a mutex.
    Lock(usize),
    /// Acquire a mutex unless a signal comes first.
    LockInterruptible(usize),
    /// Acquire a mutex or go on without it.
    Trylock(usize),
    /// Release a mutex.
    Unlock(usize),
    /// Sleep for a span.
    Sleep(Nanos),
    /// Sleep until a point.
    SleepUntil(Timestamp),
    /// Wait for one wake.
    Wait,
    /// Wake another task.
    Wake(usize),
    /// Send a signal to another task.
    Signal(usize),
    /// Give up the CPU, stay runnable.
    Yield,
    /// End.
    Exit,
}

/// What some policies must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Names of the policies.
    pub policies: Vec<String>,
    /// Position of its first line below the header, counted from 0.
    pub first_line: usize,
    /// Its lines as written, with what each asks for.
    pub lines: Vec<(Ask, String)>,
}

/// What one line of an expectation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who executes on a CPU, and on whose scheduling context.
    Timeline(CpuId),
    /// When a task obtains a lock: indexes of task and lock.
    Acquired(usize, usize),
    /// CPU time spent on these tasks' scheduling contexts.
    Charged(Vec<usize>),
    /// When a task changes runqueue.
    Moves(usize),
}
