//! Which rule made an event of a replay.
//!
//! A rule is noted where it decides, and goes along with the event that follows from it.

use std::fmt;

/// The rule behind an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The event follows from another one at the same instant.
    #[default]
    Follows,
    /// A task comes into the recording.
    Arrives,
    /// The program computes, for longer or shorter.
    Computes,
    /// The program sleeps or waits.
    ProgramSleeps,
    /// The program ends, or nothing more is known of it.
    ProgramOver,
    /// The program wakes somebody.
    ProgramWakes,
    /// Bytes or room in a buffer end a wait for them.
    BufferMoves,
    /// A timer or a device ends a sleep.
    SleepEnds,
    /// A signal ends a wait for a lock.
    Signalled,
    /// A lock is free, and its first waiter is woken.
    LockReleased,
    /// A waiter for a lock goes to sleep.
    LockSleeps,
    /// A call waits for bytes or room.
    BufferSleeps,
    /// A waiter for a lock spins.
    LockSpins,
    /// A lock is free when it is asked for: nobody waits.
    LockFree,
    /// A lock is taken that was free.
    LockTaken,
    /// A spinner takes a lock.
    LockTakenSpinning,
    /// A lock is handed to its waiter.
    LockHandedOver,
    /// Whoever was queued is more urgent than who runs.
    WakeupPreempts,
    /// A fair slice is used up.
    SliceEnds,
    /// A lazy request is honoured at the tick.
    LazyTick,
    /// A request that had to wait until the kernel was left.
    KernelLeft,
    /// A round-robin slice is used up.
    RoundRobin,
    /// A deadline budget is used up.
    BudgetOver,
    /// The fair server's turn begins or ends.
    FairServer,
    /// The CPU is given up.
    Yields,
    /// Class or priority changes.
    ClassChanges,
    /// A priority is inherited, or given back.
    Inherits,
    /// An affinity takes hold.
    AffinityHolds,
    /// A donor leaves the CPU of its owner.
    DonorReturns,
    /// A CPU passes through idle to let go of a stack.
    IdleDetour,
    /// The fair class picks.
    PickFair,
    /// The realtime class picks.
    PickRealtime,
    /// The deadline class picks.
    PickDeadline,
    /// The stop class picks.
    PickStop,
    /// The owner of the lock that the picked task waits for.
    PickOwner,
    /// Nothing is left to run.
    PickIdle,
    /// A CPU that goes idle takes a task that waits elsewhere.
    NewIdle,
    /// Periodic balancing.
    Balance,
    /// Urgent tasks go where less urgent work runs.
    PushPull,
    /// A wakeup finds an idle CPU.
    IdleSearch,
    /// A wakeup finds none, and stays by its target.
    NoIdleCpu,
    /// The realtime or deadline class places a wakeup.
    PlaceUrgent,
    /// A new task is placed.
    PlaceNew,
    /// The only place that is allowed.
    OnlyAllowed,
    /// The task was still queued.
    StillQueued,
}

impl Rule {
    /// In a few words.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.both().0
    }

    /// The kernel function, or what else it follows.
    #[must_use]
    pub fn source(self) -> &'static str {
        self.both().1
    }

    fn both(self) -> (&'static str, &'static str) {
        match self {
            Self::Follows => ("follows from what came before", "the same instant"),
            Self::Arrives => ("arrival", "the demand: Arrival"),
            Self::Computes => ("the program computes", "the demand"),
            Self::ProgramSleeps => ("the program sleeps", "the demand"),
            Self::ProgramOver => ("the program is over, or the replay", "the demand"),
            Self::ProgramWakes => ("the program wakes", "the demand"),
            Self::BufferMoves => ("bytes or room in a pipe or socket", "pipe_read(), pipe_write()"),
            Self::SleepEnds => ("a sleep ends", "the demand"),
            Self::Signalled => ("a signal ends a wait", "signal_wake_up()"),
            Self::LockReleased => ("a released lock wakes", "__mutex_unlock_slowpath()"),
            Self::LockSleeps => ("a waiter sleeps", "__mutex_lock_common()"),
            Self::BufferSleeps => ("a wait for bytes or room", "pipe_read(), pipe_write()"),
            Self::LockSpins => ("a waiter spins", "mutex_optimistic_spin()"),
            Self::LockFree => ("the lock is free", "__mutex_trylock_fast()"),
            Self::LockTaken => ("a free lock is taken (steal)", "__mutex_trylock()"),
            Self::LockTakenSpinning => ("a spinner takes the lock", "mutex_optimistic_spin()"),
            Self::LockHandedOver => ("the lock is handed over", "__mutex_handoff()"),
            Self::WakeupPreempts => ("wakeup preemption", "wakeup_preempt(), fair.c and rt.c"),
            Self::SliceEnds => ("slice end", "update_curr(), hrtick()"),
            Self::LazyTick => ("lazy preemption at the tick", "sched_tick()"),
            Self::KernelLeft => ("preemption on leaving the kernel", "exit_to_user_mode_loop()"),
            Self::RoundRobin => ("round-robin slice end", "task_tick_rt()"),
            Self::BudgetOver => ("deadline budget over", "update_curr_dl()"),
            Self::FairServer => ("fair server", "dl_server_timer()"),
            Self::Yields => ("yield", "do_sched_yield()"),
            Self::ClassChanges => ("class or priority change", "__sched_setscheduler()"),
            Self::Inherits => ("priority inheritance", "rt_mutex_setprio()"),
            Self::AffinityHolds => ("affinity", "__set_cpus_allowed_ptr()"),
            Self::DonorReturns => ("a donor goes home", "proxy_needs_return()"),
            Self::IdleDetour => ("a pass through idle", "proxy_resched_idle()"),
            Self::PickFair => ("fair pick (EEVDF)", "pick_eevdf()"),
            Self::PickRealtime => ("realtime pick", "pick_next_rt_entity()"),
            Self::PickDeadline => ("deadline pick", "pick_next_dl_entity()"),
            Self::PickStop => ("stop pick", "pick_task_stop()"),
            Self::PickOwner => ("the owner runs for its donor", "find_proxy_task()"),
            Self::PickIdle => ("nothing to run", "pick_task_idle()"),
            Self::NewIdle => ("new-idle balance", "sched_balance_newidle()"),
            Self::Balance => ("periodic balance", "sched_balance_rq()"),
            Self::PushPull => ("realtime push and pull", "push_rt_task(), pull_rt_task()"),
            Self::IdleSearch => ("wake placement: an idle CPU", "select_idle_sibling()"),
            Self::NoIdleCpu => ("wake placement: none idle", "select_task_rq_fair()"),
            Self::PlaceUrgent => ("wake placement, urgent", "select_task_rq_rt(), _dl()"),
            Self::PlaceNew => ("placement of a new task", "sched_balance_find_dst_cpu()"),
            Self::OnlyAllowed => ("the only CPU allowed", "select_fallback_rq()"),
            Self::StillQueued => ("it was still queued", "ttwu_runnable()"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an event of a replay is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Why it happens at all.
    pub cause: Rule,
    /// How what comes of it was chosen: of a switch who runs next; otherwise the cause again.
    pub choice: Rule,
}

impl From<Rule> for Decision {
    fn from(rule: Rule) -> Self {
        Self { cause: rule, choice: rule }
    }
}
