//! The one vocabulary that every format is read into: what the file says, not what it means.

use crate::{CpuId, LockId, NameId, PrevState, Tid, Timestamp};

/// One record of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was recorded.
    pub at: Timestamp,
    /// The CPU that recorded it.
    pub cpu: CpuId,
    /// In which context it was recorded.
    pub context: Context,
    /// The task that was running on that CPU (`common_pid`).
    pub tid: Tid,
    /// What happened.
    pub kind: SchedEvent,
}

/// The execution context of a record, from `common_flags` or the flag column of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// The format does not say.
    #[default]
    Unknown,
    /// The task itself.
    Task,
    /// A softirq on top of the task.
    SoftIrq,
    /// A hardware interrupt (or NMI) on top of the task.
    HardIrq,
}

/// Lock flags of `contention_begin` (`LCB_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockFlags(pub u32);

impl LockFlags {
    /// The waiter spins.
    pub const SPIN: u32 = 1;
    /// A reader.
    pub const READ: u32 = 2;
    /// A writer.
    pub const WRITE: u32 = 4;
    /// An `rt_mutex`.
    pub const RT: u32 = 8;
    /// A percpu rwsem.
    pub const PERCPU: u32 = 16;
    /// A `struct mutex`.
    pub const MUTEX: u32 = 32;
    /// A mutex of a program, which waits in a futex call: our own flag, not the kernel's.
    pub const USER: u32 = 1 << 16;

    /// True when all bits of `mask` are set.
    #[must_use]
    pub fn has(self, mask: u32) -> bool {
        self.0 & mask == mask
    }
}

/// A pipe or one direction of a socket: its address, and its inode's number where an address may be
/// used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId {
    /// `struct pipe_inode_info`, or the `struct sock` that receives.
    pub address: u64,
    /// The low half of a pipe's inode number; 0 for a socket.
    pub inode: u32,
}

/// Which way a call moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Into the buffer.
    Put,
    /// Out of it.
    Take,
}

/// What a buffer is, and how much fits into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferSize {
    /// A pipe of so many pages (`max_usage`).
    Pages(u32),
    /// A pipe of so many pages in packet mode: each write has pages of its own (`O_DIRECT`).
    Packets(u32),
    /// A socket whose sender may use so many bytes of memory (`sk_sndbuf`).
    Room(u32),
}

/// The task that owns a lock, as the recorder found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockHolder {
    /// Who.
    pub tid: Tid,
    /// Its kernel priority at that moment, boosts included.
    pub prio: i32,
    /// Whether it was executing.
    pub is_on_cpu: bool,
    /// Its CPU: where it executes, else where it last did or is queued.
    pub cpu: CpuId,
}

/// What a lock's owner word says beside its owner: its low three bits.
///
/// The rest of the word, a kernel address, is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerBits(pub u8);

impl OwnerBits {
    /// A mutex: somebody is on its wait list.
    pub const WAITERS: u8 = 1;
    /// A mutex: the next release hands it to the first waiter.
    pub const HANDOFF: u8 = 2;
    /// A mutex: handed to the owner that the word names, which does not have it yet.
    pub const PICKUP: u8 = 4;
    /// An `rw_semaphore`: readers have it, and the owner is one who did at some time.
    pub const READERS: u8 = 1;
    /// An `rw_semaphore`: nobody may spin for it.
    pub const NONSPINNABLE: u8 = 2;

    /// The bits of a whole owner word.
    #[must_use]
    pub fn of_word(word: u64) -> Self {
        Self((word & 7) as u8)
    }

    /// True when all bits of `mask` are set.
    #[must_use]
    pub fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }
}

/// What a record says. Field names follow the kernel's `format` files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchedEvent {
    /// `sched_switch`.
    Switch {
        /// Task that left the CPU.
        prev: Tid,
        /// Its name.
        prev_comm: NameId,
        /// Its kernel priority (0..139; -1 for deadline).
        prev_prio: i32,
        /// Its state.
        prev_state: PrevState,
        /// Task that came.
        next: Tid,
        /// Its name.
        next_comm: NameId,
        /// Its kernel priority.
        next_prio: i32,
    },
    /// `sched_waking`: emitted by the waker before a CPU is selected.
    Waking(WakeFields),
    /// `sched_wakeup`: the task is on a runqueue.
    Wakeup(WakeFields),
    /// `sched_wakeup_new`: first enqueue after fork.
    WakeupNew(WakeFields),
    /// `sched_migrate_task`.
    MigrateTask {
        /// Task that changes runqueue.
        tid: Tid,
        /// Its name.
        comm: NameId,
        /// Its kernel priority.
        prio: i32,
        /// From here.
        orig_cpu: CpuId,
        /// To here.
        dest_cpu: CpuId,
    },
    /// `sched_process_fork`.
    Fork {
        /// Forking task.
        parent: Tid,
        /// Its name.
        parent_comm: NameId,
        /// New task.
        child: Tid,
        /// Its name.
        child_comm: NameId,
    },
    /// `sched_process_exec`.
    Exec {
        /// Task id after the exec.
        tid: Tid,
        /// Task id before it (differs when a thread execs).
        old_tid: Tid,
    },
    /// `sched_process_exit`: the start of exit; the last switch comes later.
    Exit {
        /// Exiting task.
        tid: Tid,
        /// Its name.
        comm: NameId,
        /// Its kernel priority.
        prio: i32,
    },
    /// `sched_pi_setprio`: `rt_mutex` boosting.
    PiSetprio {
        /// Boosted task.
        tid: Tid,
        /// Its name.
        comm: NameId,
        /// Kernel priority before.
        old_prio: i32,
        /// Kernel priority after.
        new_prio: i32,
    },
    /// `sched_stat_runtime`.
    StatRuntime {
        /// Executing task.
        tid: Tid,
        /// Nanoseconds since the last such record.
        runtime_ns: u64,
    },
    /// `lock:contention_begin`.
    ContentionBegin {
        /// The lock.
        lock: LockId,
        /// Its kind and the waiter's way to wait.
        flags: LockFlags,
    },
    /// `lock:contention_end`.
    ContentionEnd {
        /// The lock.
        lock: LockId,
        /// 0 when acquired, else `-errno`.
        ret: i32,
    },
    /// `lock:contended_release`.
    ContendedRelease {
        /// The lock.
        lock: LockId,
    },
    /// `resched:lock_owner`, our own recorder's: who had a lock when `contention_begin` was emitted.
    ///
    /// It stands just before or just behind that begin, and the task that recorded it is the waiter.
    LockOwner {
        /// The mutex or `rw_semaphore`.
        lock: LockId,
        /// Flags of the begin.
        flags: LockFlags,
        /// Who owned it; `None` when nobody did at that instant.
        owner: Option<LockHolder>,
        /// What else the owner word says.
        bits: OwnerBits,
    },
    /// `resched:transfer_begin`, our own recorder's: a system call that moves bytes through a pipe or
    /// a connected stream socket begins.
    TransferBegin {
        /// The pipe or socket.
        buffer: BufferId,
        /// Into it or out of it.
        way: Transfer,
        /// What it is and how much fits into it.
        size: BufferSize,
        /// Bytes asked for; of calls with several areas of memory it says nothing.
        count: u32,
        /// It returns at once where it would have to wait (`O_NONBLOCK`).
        is_nonblocking: bool,
        /// The mutex that is held while bytes move, when there is one.
        mutex: Option<LockId>,
    },
    /// `resched:transfer_end`: that call is over.
    TransferEnd {
        /// The pipe or socket.
        buffer: BufferId,
        /// Bytes moved, else `-errno`.
        ret: i32,
    },
    /// A futex call begins: `resched:futex_begin`, our own recorder's, or
    /// `syscalls:sys_enter_futex`, which tells less.
    FutexBegin {
        /// Address of the word.
        uaddr: u64,
        /// Operation and flags, as the call's.
        op: u32,
        /// The call's third argument.
        val: u32,
        /// The process; `None` when it is not told.
        process: Option<Tid>,
        /// Which thread the program's memory names as the owner of the mutex there; of words that are
        /// no mutex of glibc's and no PI futex it is any number.
        owner: Option<Tid>,
    },
    /// `resched:sched_yield`, our own recorder's: this task gives up its CPU and stays runnable.
    Yield,
    /// The futex call of this task is over.
    FutexEnd {
        /// What it returned.
        ret: i32,
    },
    /// Entry of `mutex_lock` and its interruptible and killable forms (detail `full`).
    ///
    /// The plain form returns nothing: acquired here, or at `contention_end`
    /// when it contends. The other forms answer with [`SchedEvent::MutexLockReturn`].
    MutexLock {
        /// The mutex.
        lock: LockId,
        /// False for the plain form.
        has_return: HasReturn,
    },
    /// Return of `mutex_lock_interruptible` or `mutex_lock_killable` (detail `full`).
    MutexLockReturn {
        /// The mutex.
        lock: LockId,
        /// 0 when acquired, else `-errno`.
        ret: i32,
    },
    /// Return of `mutex_trylock` (detail `full`).
    MutexTrylock {
        /// The mutex.
        lock: LockId,
        /// Whether it was acquired.
        ret: i32,
    },
    /// Entry of `mutex_unlock` (detail `full`).
    MutexUnlock {
        /// The mutex.
        lock: LockId,
    },
    /// `timer:hrtimer_start`.
    HrtimerStart {
        /// Address of the timer.
        timer: u64,
        /// Name of its function; empty when the file has no symbol for it.
        function: NameId,
        /// Hard expiry on the timer's clock, nanoseconds.
        expires_ns: i64,
    },
    /// `resched:donor`, our own: CPU `cpu` now runs `running` on the scheduling context of `donor`.
    Donor {
        /// Whose entitlement is spent.
        donor: Tid,
        /// Who executes.
        running: Tid,
    },
    /// `resched:proxy_migrate`, our own: a blocked donor's scheduling context changes runqueue.
    ProxyMigrate {
        /// The blocked donor.
        tid: Tid,
        /// From here.
        orig_cpu: CpuId,
        /// To the owner's CPU.
        dest_cpu: CpuId,
    },
    /// `resched:proxy_return`, our own: a migrated donor returns in its wakeup.
    ProxyReturn {
        /// The donor.
        tid: Tid,
        /// From the owner's CPU.
        orig_cpu: CpuId,
        /// To the CPU selected.
        dest_cpu: CpuId,
    },
}

/// The fields that the three wakeup events share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeFields {
    /// The woken task.
    pub tid: Tid,
    /// Its name.
    pub comm: NameId,
    /// Its kernel priority.
    pub prio: i32,
    /// Its CPU as known at that moment: for `sched_waking` the previous one.
    pub target_cpu: CpuId,
}

/// Whether a lock entry is followed by a return event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasReturn {
    /// `mutex_lock`: no.
    No,
    /// `mutex_lock_interruptible`, `mutex_lock_killable`: yes, with a result.
    Yes,
}
