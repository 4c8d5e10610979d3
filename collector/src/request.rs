//! What was asked for: the one value that planning starts from.

use std::path::PathBuf;
use std::time::Duration;

/// Which of the kernel's two event buffers is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// ftrace's, through an instance of our own in tracefs; written as trace.dat.
    #[default]
    Tracefs,
    /// Those of `perf_event_open`; written as perf.data.
    Perf,
}

impl Via {
    /// The option's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tracefs => "tracefs",
            Self::Perf => "perf",
        }
    }
}

/// How much of locking is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Waits for locks, as the kernel's tracepoints report them.
    #[default]
    Contention,
    /// And the owner, read in the kernel when a wait begins.
    Owner,
    /// And every acquisition and release of the mutexes that somebody has waited for.
    Sections,
    /// And every acquisition and release of a mutex.
    Full,
}

impl Detail {
    /// The option's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contention => "contention",
            Self::Owner => "owner",
            Self::Sections => "sections",
            Self::Full => "full",
        }
    }
}

/// Whose events are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Everybody's: what a replay needs.
    #[default]
    System,
    /// Those of the command and what it starts.
    Command,
    /// Those of these threads.
    Pids(Vec<u32>),
}

/// How recorded pages are packed on their way to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd at this level; negative ones are faster.
    Zstd(i32),
}

impl Compression {
    /// zstd's level.
    #[must_use]
    pub fn level(self) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Zstd(level) => Some(level),
        }
    }
}

/// A recording that keeps only its last stretch until something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// How much is kept.
    pub last: Duration,
    /// A lock wait longer than this ends a stretch and writes it.
    pub wait: Option<Duration>,
    /// After so many written stretches the recording ends.
    pub dumps: u32,
}

/// A recording that somebody wants.
#[derive(Clone, Debug)]
pub struct Request {
    /// Through which buffers; `None`: the better one here.
    pub via: Option<Via>,
    /// How much of locking.
    pub detail: Detail,
    /// Whose events.
    pub target: Target,
    /// Whether futex system calls are recorded too.
    pub futex: Futex,
    /// Ends after this time.
    pub duration: Option<Duration>,
    /// Kernel buffer of each CPU, in KiB; `None`: by how long the recorder may be kept away.
    pub buffer_kib: Option<u64>,
    /// Packing of the file.
    pub compression: Compression,
    /// Flight recorder instead of a whole recording.
    pub flight: Option<Flight>,
    /// `SCHED_FIFO` priority of the recorder's threads; `None`: nice -20.
    pub realtime: Option<i32>,
    /// The file to write.
    pub output: PathBuf,
    /// The command to record, with its arguments.
    pub command: Vec<String>,
}

/// Whether futex system calls are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Futex {
    /// They are not.
    #[default]
    No,
    /// They are.
    Yes,
}
