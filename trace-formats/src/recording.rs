//! A whole trace, read: its events in time order and what else the file says about itself.

use crate::{CpuId, Event, Names, Timestamp};
use std::collections::BTreeMap;

/// Which file format a recording came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatInfo {
    /// For people: `trace.dat v7 (zstd)`, `perf.data`, `ftrace text`.
    pub name: String,
    /// The trace clock, when the file names it.
    pub clock: Option<String>,
    /// Kernel release, when the file names it.
    pub kernel: Option<String>,
}

/// What a loss can have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LostWhat {
    /// Any event of the CPU.
    #[default]
    Events,
    /// Nothing but `resched:lock_owner`, which has a buffer of its own: the schedule is whole.
    OwnRecords,
}

/// Events that the kernel or the recorder dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// CPU whose buffer overran; `None` when the file does not say.
    pub cpu: Option<CpuId>,
    /// What they can have been.
    pub what: LostWhat,
    /// How many, when the file says; a loss of unknown size is `None`.
    pub events: Option<u64>,
    /// The last moment known to be good before the loss.
    pub after: Timestamp,
    /// The first moment known to be good again.
    pub before: Timestamp,
}

/// Something odd that a reader met and went on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Where in the file: a byte offset or a line, in words.
    pub place: String,
    /// What, and what was done about it.
    pub text: String,
}

/// One trace in memory.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Where it came from.
    pub format: Option<FormatInfo>,
    /// All events of our vocabulary, ordered by (time, CPU, position in the CPU's stream).
    ///
    /// A text is one stream: events of equal time keep the order of their lines.
    pub events: Vec<Event>,
    /// Names used by `events`.
    pub names: Names,
    /// CPUs the file has a stream for, in ascending order.
    pub cpus: Vec<CpuId>,
    /// Every event record of the file by event name, used by us or not.
    ///
    /// In perf.data these are the samples.
    pub counts: BTreeMap<String, u64>,
    /// All records of a perf.data file by kind (`SAMPLE`, `MMAP2`, `LOST`, …); empty for other formats.
    pub records: BTreeMap<String, u64>,
    /// Time of the first and last record of whatever kind.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Losses the file admits.
    pub lost: Vec<Lost>,
    /// What was odd.
    pub oddities: Vec<Oddity>,
}

impl Recording {
    /// All event records in the file, used by us or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
