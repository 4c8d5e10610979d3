//! `*.sched`: scenarios, with the schedule each policy must answer with; and demands of recordings.
//!
//! People write the former by hand, and the latter are written by `Script`'s own `Display`. It is
//! one language, and every demand can be said in it.
//!
//! All times are milliseconds with up to six decimals, read as whole
//! nanoseconds. `#` starts a comment. A file has three parts.
//!
//! **The machine**, one setting a line, all optional:
//!
//! ```text
//! cpus 2              CPUs 0 and 1; default 1. `cpus 0-3,8` are these, `cpus 5-5` is only CPU 5
//! per-core 2          CPUs 0 and 1 share a core, and so on; default 1
//! per-cache 4         CPUs that share a last-level cache; default all
//! per-node 4          CPUs of a node; default all
//! cores 0 1 0 1       the same with a number for each CPU; so are `caches` and `nodes`
//! hz 1000             ticks per second
//! tick-phase 0        distance of the ticks from whole periods
//! hrtick on           whether slice ends are timed precisely
//! slice 2.8           EEVDF base slice; default as a kernel on this many CPUs
//! preemption full     or lazy, voluntary, none
//! newidle 1024        how often a CPU that goes idle takes work from others, of 1024 times; `?`: not
//!                     known; one number for all CPUs, or one for each
//! passes-over-halted on    wakeups pass over CPUs that have been idle for 20 us, as in some virtual
//!                     machines; default off
//! latency wake-busy 0.012 wake-idle 0.02 wake-deep 0.03 slice-end 0.01    default 0 each
//! latency lock-contended 0.002 lock-sleep 0.004 lock-wake 0.003
//! latency buffer-sleep 0.001 buffer-wake 0.001 buffer-tell 0.001
//! assumed "HZ=1000"   what is only assumed of this machine; for people
//! start 39623617.5    when the schedule begins on the trace's clock; default 0
//! end 20              the drawn part ends here; for endless tasks. It is on the same clock
//! mutex m 0xffff8880  where a lock lies; `rwsem` and `rt-mutex` too
//! rwsem m             m is an rwsem (locked for writing), not a mutex
//! rt-mutex m          m is an rt_mutex, as the kernel's side of a PI futex is
//! mutex m preempted   holders are preempted, also where the kernel is not preemptible
//! user-mutex m        m is a mutex of a program, which waits in a futex call
//! rwsem m flags read  as `contention_begin` names it: spin, read, write, rt, percpu, mutex, with `+`
//! group g weight 200  a cgroup and its cpu.weight; `group h in g weight 50` is one in g
//! pipe p 16 pages     a pipe; default 16 pages; `packets` instead of `pages` is one in packet
//!                     mode, and `128 messages by 8` one that holds so many, and once full takes more
//!                     when 8 are gone; `socket s 212992 bytes` is one direction of a stream
//!                     socket; `mutex m` is held while bytes move, `filled N` are in it at the start
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
//! A name is of letters, digits and `_.-/:`, or it stands in quotes: `"a b"`. There `\"`, `\\` and
//! `\u{1b}` are escapes. No two tasks have one name; what the kernel calls a task is its `comm NAME`,
//! which any number may share, and which is its name where nothing is said. A quoted word is
//! always a name, never a keyword.
//!
//! Classes are `fair`, `batch`, `idle` (each with `nice N`), `fifo N`, `rr N`,
//! `dl BUDGET DEADLINE PERIOD` and `stop`; `params POLICY NICE PRIORITY RUNTIME DEADLINE PERIOD` is
//! for parameters that do not fit together. `slice S` is a fair task's own slice. A task starts on
//! `cpu N` (default 0) and is pinned there unless `allowed 0-3,8` or `allowed all` follows. It becomes
//! runnable `at T` (default: the start), or begins `asleep`: then its first step is a sleep or a
//! wait; or it is `forked` by another task, and may then run on all CPUs unless `allowed` follows.
//! `in g` puts it into a cgroup; `holds m` gives it a mutex at the start; `vruntime V deadline D` place a fair task in
//! virtual time; `at-first 0,1` are CPUs that it may use as well, up to its step `keep-affinity`;
//! `lag G` is what a task that begins asleep is owed.
//!
//! Identity has no effect on the schedule: `tid N` (default: the task's place, counted from 1),
//! `prio N` or `prio unknown` (the kernel priority that it was first seen with; default: that of its
//! class), `parent TASK`, and `ended` for a task whose end is recorded.
//!
//! Steps are `run T`, `lock M`, `lock-interruptible M`, `trylock M`, `trylock-failed M`, `unlock M`,
//! `put BUFFER BYTES [nonblocking]`, `take BUFFER BYTES [nonblocking]`, `sleep T`, `sleep-until T`, `sleep-every PERIOD RELEASE`,
//! `sleep-ticks N after T`, `busy-wait T`, `wait`, `wake TASK`, `signal TASK`,
//! `fork TASK`, `set CLASS`, `keep-affinity`, `yield`, `exit`. A failed `trylock` skips
//! its `unlock`, and nothing else; a `lock-interruptible` that a signal ends skips all up to its
//! `unlock`. After a `trylock-failed` there is no section: whoever gets the lock there gives it back.
//! `busy-wait 5` computes until 5 ms have passed since it began, on a CPU or not.
//! `sleep-ticks 2 after 0.5` sleeps until 0.5 ms behind the second tick from now.
//! `sleep-every 10 3.5` sleeps until the next of the releases 10 ms apart of which one is at 3.5.
//! `contend M` and `contended M` are the two ends of a wait for a lock that the task does not
//! acquire by itself (`as FLAGS` says how it waits, `ret N` that it failed).
//! A sleep and a `wait` may name their state and a lock that is waited for: `wait D`,
//! `sleep 5 D on m as read`. States are the letters of `sched_switch`; without one it is `S`.
//! A task exits after its last step, unless `...` follows: then it goes on, but nobody knows how.
//!
//! A loop goes on as long as there is time. Its places stand between the steps: `round` where a
//! round begins that may be run once more, `round-once` where one begins that may not be, and
//! `rounds-over` at the loop's end. `until T` is when the loop ends, and `may-end` the place in
//! front of which it does not, because others wait for what is done there.
//!
//! A task that locks what it holds, or does something else that is more likely a slip, is refused.
//! A recording with losses shows such tasks: `as-recorded` takes them as they are.
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

mod buffer;
mod class;
mod cpus;
mod expectation;
mod fault;
mod lock;
mod machine;
mod millis;
mod parse;
mod quote;
mod settings;
mod step;
mod task;
#[cfg(test)]
mod tests;
mod word;
mod write;

pub use buffer::{Buffer, BufferKind};
pub use class::{Class, Parameters};
pub use cpus::CpuList;
pub use lock::Lock;
pub use machine::{Latencies, Machine, Preemption, Sharing};
pub use millis::Millis;
pub use parse::parse;
pub use step::{Asleep, Blocking, Mark, Step};
pub use task::{Allowed, FairPlace, Priority, Start, Task};

use crate::CpuId;

/// A parsed scenario; its `Display` is its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The machine it plays on.
    pub machine: Machine,
    /// Its tasks, in the order of their lines.
    pub tasks: Vec<Task>,
    /// Its cgroups, parents first.
    pub groups: Vec<Group>,
    /// Its locks: those with a line of their own, then others in the order of their first mention.
    pub locks: Vec<Lock>,
    /// Its pipes and sockets.
    pub buffers: Vec<Buffer>,
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

impl Group {
    /// `cpu.weight` of a group that does not say.
    pub const DEFAULT_WEIGHT: u32 = 100;
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

/// Whether a word means something by itself: as a name it stands in quotes.
fn is_keyword(word: &str) -> bool {
    settings::SETTINGS.contains(&word)
}
