//! What the engine knows at one instant: every task, every runqueue, every lock.

use crate::decision::Rule;
use crate::feed::Window;
use crate::rule::lag::Load;
use crate::rule::mutex::MutexWord;
use crate::rule::pelt::Average;
use model::demand::LockIndex;
use model::{CpuSet, NameId, PrevState, SchedParams, SchedPolicy, Tid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A task's position in [`State::tasks`].
pub(crate) type T = u32;

/// Scheduling classes, least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Idle,
    Fair,
    Realtime,
    Deadline,
    Stop,
}

/// Whether and where a task's scheduling context is queued (`on_rq`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRq {
    No,
    Queued,
}

/// What a task does when it runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next op of its program.
    Program,
    /// In the slow path of unlock, between looking at its donor and the release.
    Releasing(LockIndex, Release),
    /// In `mutex_lock`, spinning, not on the wait list.
    Spin(LockIndex),
    /// In `mutex_lock`, about to take the internal lock and queue.
    Enqueue(LockIndex),
    /// On the wait list, back from (or inside) `schedule()`.
    Waiting(LockIndex),
    /// Head of the wait list, spinning.
    SpinQueued(LockIndex),
    /// Head of the wait list, gave up spinning.
    Requeue(LockIndex),
    /// Its program is over.
    Done,
}

/// What an unlock has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Give the mutex to somebody.
    HandOver,
    /// Free it.
    Free,
}

/// A fair task's place in virtual time (kernel model 5.1).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FairEntity {
    pub vruntime: i64,
    pub deadline: i64,
    pub slice: i64,
    pub custom_slice: bool,
    /// Its weight, averaged over the time it wants a CPU; nice 0 is 1024.
    pub load: Average,
    /// The CPU whose average its own is part of.
    pub load_on: Option<usize>,
    pub lag: i64,
    /// `deadline` holds the distance to `vruntime` while the task is moved.
    pub relative_deadline: bool,
    pub protected_until: i64,
    pub weight: i64,
    /// Orders equal deadlines.
    pub seq: u64,
    pub in_tree: bool,
}

/// A deadline task's budget (kernel model 6.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeadlineEntity {
    pub budget: i64,
    pub deadline: i64,
    pub throttled: bool,
    /// An inherited deadline: the budget is not its own and never ends.
    pub boosted: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub tid: Tid,
    pub comm: NameId,
    /// Its place in its program, and the ops around it.
    pub pc: usize,
    pub window: Window,
    /// Where the current round of its loop ends; `usize::MAX` outside of loops.
    pub seam: usize,
    /// Rounds that were run once more.
    pub repeated: usize,
    /// When it last began with the first of them.
    pub passed_at: u64,
    /// When it last took a step of its program, and how many then.
    pub stepped_at: u64,
    pub steps: u32,
    /// CPU time left of the current [`Op::Compute`].
    pub left: u64,
    /// When the [`Op::BusyWait`] that it is in ends.
    pub busy_to: Option<u64>,
    pub phase: Phase,
    /// `None` while runnable.
    pub asleep: Option<PrevState>,
    pub on_rq: OnRq,
    pub on_cpu: bool,
    pub delayed: bool,
    pub is_blocked: bool,
    pub blocked_on: Option<LockIndex>,
    pub blocked_donor: Option<T>,
    /// A woken donor that its owner's CPU must send home before it may run.
    pub returning: bool,
    /// The sleeping owner it waits with.
    pub parked_on: Option<T>,
    /// Donors that wait with it while it sleeps.
    pub parked: Vec<T>,
    /// The inherited lock it waits for.
    pub waits_for: Option<LockIndex>,
    /// Inherited locks it owns.
    pub owns: Vec<LockIndex>,
    /// Since when it is on a lock's wait list.
    pub waits_since: u64,
    /// A signal is pending, and its lock attempt may be ended by one.
    pub signalled: bool,
    pub interruptible: bool,
    pub cpu: usize,
    pub wake_cpu: usize,
    pub affinity: Option<CpuSet>,
    pub class: Class,
    pub sched: SchedParams,
    pub prio: i32,
    pub rr_left: u32,
    pub fair: FairEntity,
    pub dl: DeadlineEntity,
    /// The call that moves bytes, and whom it has to tell.
    pub call: crate::buffer::Call,
    pub notice: Option<crate::buffer::Notice>,
    /// Wakes that have arrived before their wait.
    pub wakes_early: u32,
    /// In an [`Op::Wait`], to be ended by an [`Op::Wake`].
    pub awaits_wake: bool,
    /// Invalidates timers of earlier sleeps.
    pub sleep_generation: u32,
    pub recent_cpu: usize,
    /// When it last left a CPU.
    pub left_cpu: u64,
    /// The CPU it ran on last.
    pub ran_on: Option<usize>,
    pub last_wakee: Option<T>,
    pub wakee_flips: u32,
    pub flips_since: u64,
    /// Locks whose trylock failed here but succeeded in the recording.
    pub skipped: Vec<LockIndex>,
    /// CPU time executed, and charged (ns).
    pub executed: u64,
    pub charged: u64,
}

impl Task {
    pub(crate) fn is_queued(&self) -> bool {
        self.on_rq == OnRq::Queued
    }

    pub(crate) fn class_of(policy: SchedPolicy) -> Class {
        match policy {
            SchedPolicy::Fifo | SchedPolicy::Rr => Class::Realtime,
            SchedPolicy::Deadline => Class::Deadline,
            SchedPolicy::Stop => Class::Stop,
            SchedPolicy::Other | SchedPolicy::Batch | SchedPolicy::Idle => Class::Fair,
        }
    }

    pub(crate) fn is_idle_policy(&self) -> bool {
        self.sched.policy == SchedPolicy::Idle
    }
}

/// The fair tasks of one CPU, the running donor excepted from the tree (kernel model 5.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct FairQueue {
    /// Ordered by (virtual deadline, insertion).
    pub tree: BTreeMap<(i64, u64), T>,
    /// Load of the tree.
    pub load: Load,
    /// The donor while it is fair: its entity is out of the tree.
    pub current: Option<T>,
    /// Queued tasks, current and delayed ones included.
    pub n_queued: u32,
    /// V when last computed.
    pub average: i64,
    /// Buddy of a short-slice preemption.
    pub next: Option<T>,
    /// Slices of the queued tasks, counted.
    pub slices: BTreeMap<i64, u32>,
}

/// The `fair_server` of a CPU: a deadline entity that runs fair tasks before they starve.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FairServer {
    /// Fair tasks are queued, and its clock runs.
    pub started: bool,
    /// It is queued as a deadline entity: fair tasks go before realtime ones.
    pub active: bool,
    /// Fair tasks were starving: the next budget is given without deferral.
    pub rescuing: bool,
    pub budget: i64,
    pub deadline: i64,
    /// The timer that counts, among those that were set; it may be due before the server is.
    pub timer_at: Option<u64>,
}

/// One CPU.
#[derive(Clone, Debug)]
pub(crate) struct Rq {
    /// `rq->curr`: who executes. `None`: the idle task.
    pub running: Option<T>,
    /// `rq->donor`: whose entitlement is spent.
    pub donor: Option<T>,
    pub need_resched: bool,
    /// Why it was asked to reschedule.
    pub cause: Rule,
    /// A request that waits until the running task leaves the kernel (kernel model 6.7).
    pub deferred: bool,
    /// When the request takes effect.
    pub resched_at: u64,
    pub next_class: Class,
    /// Queued tasks, blocked donors included.
    pub n_running: u32,
    pub fair: FairQueue,
    pub stop: VecDeque<T>,
    pub rt: BTreeMap<i32, VecDeque<T>>,
    pub dl: BTreeSet<(i64, T)>,
    pub server: FairServer,
    /// Averages of the weight queued, and of the time spent on fair tasks (1024: all of it).
    pub load: Average,
    pub utilization: Average,
    /// The donor was picked for the server, ahead of realtime tasks.
    pub serves: bool,
    /// When it went idle last.
    pub idle_from: u64,
    /// Up to here CPU time has been charged to the donor.
    pub charged_to: u64,
    /// Since when the kernel has been on its way to a switch.
    pub stalled_from: Option<u64>,
    /// Until then the kernel works for the task that came to this CPU.
    pub busy_until: u64,
    /// Work of the pick that is going on (ns).
    pub pick_work: u64,
    /// Up to here the running program has been advanced.
    pub ran_to: u64,
    pub hrtick_at: u64,
    pub next_tick: u64,
    /// Balancing, by domain.
    pub balance: Vec<crate::balance::Balance>,
    pub dirty: bool,
    /// The last donor event written.
    pub shown: (Option<T>, Option<T>),
}

/// What the waiters of a lock do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// They are a `struct mutex`'s: candidates for donors.
    #[default]
    Mutex,
    /// They sleep, whatever the policy: an rwsem's.
    Sleeps,
    /// They sleep until a release wakes them, and try again; whoever comes first has it: a
    /// program's mutex.
    Futex,
    /// They give their priority to the owner: an `rt_mutex`'s.
    Inherits,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lock {
    pub discipline: Discipline,
    pub word: MutexWord<T>,
    /// FIFO wait list.
    pub waiters: VecDeque<T>,
    /// Spinners that are not on the wait list, in order of arrival.
    pub osq: VecDeque<T>,
}

/// A timer: (time, order of creation) -> what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub at: u64,
    pub seq: u64,
    pub kind: TimerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKind {
    /// A task arrives.
    Arrive(T),
    /// A sleep ends, if it is still this sleep.
    Wake(T, u32),
    /// A deadline task gets budget again.
    Replenish(T),
    /// The fair server of a CPU may be due.
    Server(u32),
}
