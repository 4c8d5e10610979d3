//! What each task asked for, freed from when it got it.
//!
//! A [`Demand`] is the input of a replay: per task a program of [`Op`]s. Times
//! in it are CPU time or spans from an interaction; only a timer may name an
//! absolute point, because the outside world keeps its own clock.

mod affinity;
mod busy;
mod cgroup;
mod chances;
mod coincidence;
mod contention;
mod doubt;
mod extract;
mod halted;
mod hidden;
mod latency;
mod machine;
mod message;
mod note;
mod order;
mod pace;
mod presence;
mod priority;
mod program;
mod programs;
mod rounds;
mod section;
mod sleep;
mod steady;
mod tick;
mod transfer;
mod transfer_cost;
mod unbroken;
mod unseen;
mod wake;
mod waker;
mod yields;

pub use crate::script::write;
pub use affinity::OddAffinity;
pub use contention::Cover;
pub(crate) use extract::Extract;
pub use halted::HALTED_NS;
pub use latency::{DEEP_NS, SwitchCause, SwitchCauses};
pub(crate) use machine::{Measures, cpus};
pub use note::DemandNote;
pub use presence::{Presence, Turn};
pub use programs::Choices;
pub(crate) use programs::Programs;
pub use rounds::Rounds;
pub(crate) use transfer_cost::{OfSection, TransferCosts};
pub(crate) use unbroken::Unbroken;
use waker::Interrupts;
pub(crate) use waker::Wakers;

use crate::{
    CpuId, CpuSet, Host, LockFlags, LockId, Names, Nanos, PrevState, Recording, SchedPolicy,
    TaskId, TaskInfo, Timestamp,
};
use std::collections::BTreeMap;

/// Recovers the demand of a recording; [`crate::History`] also has what happened, and other choices.
///
/// Total: what the trace leaves open is guessed and counted in the notes.
#[must_use]
pub fn extract(recording: &Recording, host: Option<&Host>) -> (Demand, BTreeMap<DemandNote, u64>) {
    crate::History::read(recording, host, Cover { buffers: true, ..Cover::default() })
        .demand(Choices::default())
}

/// A dense index of a lock within one [`Demand`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockIndex(pub u32);

impl LockIndex {
    /// The index into [`Demand::locks`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A dense index of a buffer within one [`Demand`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferIndex(pub u32);

impl BufferIndex {
    /// The index into [`Demand::buffers`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One interaction of a task, or the CPU time before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// CPU time. Preemption is not an interaction; neither is spinning, which a replay recreates.
    Compute(Nanos),
    /// Compute until this span has passed since the task came here, on a CPU or not: a program
    /// that watches the clock.
    BusyWait(Nanos),
    /// Acquire a mutex.
    Lock(LockIndex),
    /// Acquire a mutex unless a signal comes first; then skip to behind the matching
    /// [`Op::Unlock`].
    LockInterruptible(LockIndex),
    /// Send a signal: it ends a [`Op::LockInterruptible`] that still waits.
    Signal {
        /// Who gets it.
        target: TaskId,
    },
    /// Acquire a mutex or give up at once; `acquired` is what the recording saw.
    ///
    /// A replay that finds it otherwise skips the matching [`Op::Unlock`].
    TryLock {
        /// The mutex.
        lock: LockIndex,
        /// Whether the recording acquired it.
        acquired: bool,
    },
    /// Release a mutex.
    Unlock(LockIndex),
    /// Begin to wait for a lock that the demand does not acquire by itself; how long that takes is
    /// up to whatever comes before its [`Op::Contended`].
    Contend {
        /// The lock.
        lock: LockIndex,
        /// Its kind and the way to wait.
        flags: LockFlags,
    },
    /// The wait for such a lock is over.
    Contended {
        /// The lock.
        lock: LockIndex,
        /// 0 when acquired, else `-errno`.
        ret: i32,
    },
    /// Put bytes into a buffer; waits while it is full.
    Put {
        /// The pipe or socket.
        buffer: BufferIndex,
        /// How many.
        bytes: u32,
        /// It goes on with less where it would have to wait.
        is_nonblocking: bool,
    },
    /// Take so many bytes out of a buffer; waits while it is empty.
    Take {
        /// The pipe or socket.
        buffer: BufferIndex,
        /// How many.
        bytes: u32,
        /// It goes on with less where it would have to wait.
        is_nonblocking: bool,
    },
    /// Wake `target`: its next [`Op::Wait`] is over, whether it has begun or not.
    Wake {
        /// The woken task.
        target: TaskId,
    },
    /// Wait for one [`Op::Wake`] of another task.
    Wait {
        /// State while waiting.
        state: PrevState,
        /// The lock that is waited for, when it is not a mutex and the trace names it: that of an
        /// [`Op::Contend`] before.
        on: Option<(LockIndex, LockFlags)>,
    },
    /// Sleep until a timer or a device ends it.
    Sleep {
        /// When it ends.
        until: SleepEnd,
        /// State while asleep.
        state: PrevState,
        /// The lock that is waited for, when the trace names one.
        on: Option<(LockIndex, LockFlags)>,
    },
    /// A new task becomes runnable.
    Fork {
        /// The new task; its program starts here.
        child: TaskId,
    },
    /// Class or priority change.
    SetSched(SchedParams),
    /// From here on only the CPUs of [`TaskDemand::affinity`]: it leaves another one at once.
    KeepAffinity,
    /// Give up the CPU, stay runnable.
    Yield,
    /// The task ends.
    Exit,
}

/// When a sleep ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepEnd {
    /// This long after it begins: a closed loop, or a device's latency.
    After(Nanos),
    /// At this time of the trace's clock; a sleep that begins later does not block.
    At(Timestamp),
    /// Behind a tick: a timer of the kernel that counts jiffies.
    Tick {
        /// Which tick after the sleep begins; the next one is 1, and 0 means the same.
        nth: u32,
        /// How long behind that tick.
        after: Nanos,
    },
    /// At the first release later than the moment the sleep begins: a periodic task that skips
    /// what it missed.
    Period {
        /// Any one release.
        phase: Timestamp,
        /// Distance of two releases.
        period: Nanos,
    },
}

/// Scheduling parameters of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedParams {
    /// Policy.
    pub policy: SchedPolicy,
    /// Nice level, -20..=19 (fair policies).
    pub nice: i32,
    /// Realtime priority, 1..=99 (`Fifo`, `Rr`).
    pub rt_priority: i32,
    /// Deadline budget, or a fair task's own slice; nanoseconds, 0 when unset.
    pub runtime: Nanos,
    /// Relative deadline.
    pub deadline: Nanos,
    /// Period.
    pub period: Nanos,
}

impl SchedParams {
    /// Kernel priority: 0..=98 realtime, 100..=139 fair, -1 deadline.
    #[must_use]
    pub fn kernel_prio(&self) -> i32 {
        match self.policy {
            SchedPolicy::Fifo | SchedPolicy::Rr => 99i32.saturating_sub(self.rt_priority),
            SchedPolicy::Deadline => -1,
            SchedPolicy::Stop => 0,
            _ => self.nice.saturating_add(120),
        }
    }

    /// Parameters of a fair task at `nice`.
    #[must_use]
    pub fn fair(nice: i32) -> Self {
        Self { nice, ..Self::default() }
    }
}

/// How a task comes into the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Runnable at this time, on this CPU.
    At(Timestamp, CpuId),
    /// Asleep from the start; its program begins with a [`Op::Wait`] or [`Op::Sleep`].
    Asleep(CpuId),
    /// By an [`Op::Fork`] of another task.
    Forked,
}

/// A fair task's place in virtual time at its arrival; virtual nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitialFair {
    /// `vruntime` of a task that arrives runnable, relative to the queue's zero.
    pub vruntime_ns: i64,
    /// Its virtual deadline, relative to the same zero.
    pub deadline_ns: i64,
    /// Lag saved by a task that arrives asleep; positive: it is owed service.
    pub lag_ns: i64,
}

/// One task's demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDemand {
    /// Identity, as in the trace.
    pub info: TaskInfo,
    /// How it comes in.
    pub arrival: Arrival,
    /// Parameters at arrival.
    pub sched: SchedParams,
    /// CPUs it may run on; `None`: all.
    pub affinity: Option<CpuSet>,
    /// CPUs that it may run on too, up to its [`Op::KeepAffinity`]: it was seen there.
    pub beside_affinity: Option<CpuSet>,
    /// Its cgroup; `None`: the root.
    pub group: Option<GroupIndex>,
    /// Mutexes it holds when the recording begins.
    pub holds: Vec<LockIndex>,
    /// Where it starts in virtual time, when that is known; only scripts know it.
    pub initial_fair: Option<InitialFair>,
    /// Its program.
    pub ops: Vec<Op>,
    /// The loop in it that goes on as long as there is time, if there is one.
    pub rounds: Option<Rounds>,
}

/// A dense index of a cgroup within one [`Demand`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u32);

impl GroupIndex {
    /// The index into [`Demand::groups`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A cgroup below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its path, or the name it goes by in a scenario.
    pub path: String,
    /// The group it is in; `None`: the root. It stands before this one.
    pub parent: Option<GroupIndex>,
    /// `cpu.weight`, 1..=10000; 100 is as much as a task at nice 0.
    pub weight: u32,
}

/// One lock of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandLock {
    /// Its address in the trace.
    pub lock: LockId,
    /// Flags of its first contention; [`LockFlags::MUTEX`] for a mutex known from its calls alone.
    pub flags: LockFlags,
    /// Its holders are seen to be preempted: also on a kernel that is not preemptible its sections
    /// have preemption points (`cond_resched`).
    pub has_preemption_points: bool,
}

/// A bounded buffer between tasks: a pipe, or one direction of a connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandBuffer {
    /// Its address in the trace.
    pub address: u64,
    /// What it is.
    pub kind: BufferKind,
    /// The mutex that is held while bytes move, where it is known.
    pub mutex: Option<LockIndex>,
    /// Bytes in it when the recording begins.
    pub filled: u32,
}

/// What holds the bytes of a buffer, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// A pipe of so many pages (`pipe_inode_info::max_usage`).
    Pipe {
        /// Pages.
        pages: u32,
    },
    /// The same in packet mode: each write has pages of its own.
    Packets {
        /// Pages.
        pages: u32,
    },
    /// A pipe of which the trace shows the calls of its mutex alone: it holds so many messages of one
    /// size.
    Messages {
        /// Messages, at most.
        room: u32,
        /// Once full, it takes more when so many are gone.
        step: u32,
    },
    /// A stream socket that takes messages until so many bytes of memory are in use (`sk_sndbuf`).
    Socket {
        /// Bytes, the kernel's own for each message included.
        room: u32,
    },
}

/// Preemption models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preemption {
    /// Only at explicit points and on return to user mode.
    None,
    /// As `None`, plus `might_sleep` points.
    Voluntary,
    /// Fair requests wait for the next tick or return to user mode.
    Lazy,
    /// Anywhere.
    #[default]
    Full,
}

/// The machine the demand is replayed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Online CPUs, ascending.
    pub cpus: Vec<CpuId>,
    /// Ticks per second.
    pub hz: u32,
    /// The tick's distance from a multiple of its period on the trace clock.
    pub tick_phase: Nanos,
    /// Preemption model.
    pub preemption: Preemption,
    /// Whether slice ends are timed precisely.
    pub hrtick: bool,
    /// EEVDF base slice.
    pub base_slice: Nanos,
    /// Core by position in `cpus`: SMT siblings share one.
    pub core_of_cpu: Vec<u32>,
    /// Last-level cache by position in `cpus`.
    pub llc_of_cpu: Vec<u32>,
    /// NUMA node by position in `cpus`.
    pub node_of_cpu: Vec<u32>,
    /// How often a CPU that is about to go idle takes a task that waits elsewhere, of 1024 times, by
    /// position in `cpus`; `None`: not known.
    pub newidle_of_cpu: Vec<Option<u32>>,
    /// Wakeups pass over CPUs that have been idle for [`HALTED_NS`]: in a virtual machine these look
    /// as if the host had taken them away.
    pub passes_over_halted: bool,
    /// What was assumed because neither trace nor sidecar says; for people.
    pub assumed: Vec<String>,
}

/// Median times that the recorded kernel's own work took; zero where the trace shows none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// From a wakeup to the switch it causes on a busy CPU.
    pub wake_busy: Nanos,
    /// From a wakeup to the switch it causes on an idle CPU.
    pub wake_idle: Nanos,
    /// The same on a CPU that had been idle for [`DEEP_NS`] or longer.
    pub wake_deep: Nanos,
    /// From the timer that ends a slice to the switch it causes.
    pub slice_end: Nanos,
    /// In a mutex that somebody waits for, and that is free all the same.
    pub lock_contended: Nanos,
    /// From the last look at a mutex to the switch to sleep for it.
    pub lock_sleep: Nanos,
    /// From the switch back to having the mutex.
    pub lock_wake: Nanos,
    /// What a call on a pipe or socket does before it sleeps for bytes or room.
    pub buffer_sleep: Nanos,
    /// What it does behind that sleep, beside moving bytes.
    pub buffer_wake: Nanos,
    /// What it does to wake somebody who waits.
    pub buffer_tell: Nanos,
}

/// Everything a replay needs.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The machine.
    pub machine: Machine,
    /// Programs, indexed by [`TaskId`].
    pub tasks: Vec<TaskDemand>,
    /// Locks, indexed by [`LockIndex`].
    pub locks: Vec<DemandLock>,
    /// Pipes and sockets, indexed by [`BufferIndex`].
    pub buffers: Vec<DemandBuffer>,
    /// Affinities of the sidecar that the recording contradicts.
    pub odd_affinities: Vec<OddAffinity>,
    /// Cgroups, indexed by [`GroupIndex`]; parents stand before what is in them.
    pub groups: Vec<Group>,
    /// Names used by the tasks.
    pub names: Names,
    /// What the kernel's own work took in the recording.
    pub latencies: Latencies,
    /// Program time of every recorded stretch on a CPU, in the order in which they ended: what
    /// is left of the stretch without spinning and without the kernel's own work at its end.
    pub stretches: Vec<Nanos>,
    /// When the recording begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}
