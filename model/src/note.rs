//! What a reader must know about a trace: counted, typed, never silently repaired.

use crate::Timestamp;
use std::collections::BTreeMap;

/// How much a note weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; no number suffers.
    Info,
    /// Something was concluded that the trace does not say.
    Guess,
    /// Something is missing.
    Gap,
    /// Two events cannot both be true.
    Contradiction,
}

impl Severity {
    /// For people, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Guess => "guess",
            Self::Gap => "gap",
            Self::Contradiction => "contradiction",
        }
    }
}

/// What was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NoteKind {
    /// The kernel or the recorder dropped events.
    LostEvents,
    /// Records of lock owners were dropped, and nothing else.
    LostOwners,
    /// An event is earlier than the one before it; its time was taken to be the same.
    ClockBackwards,
    /// A task came to a CPU while it was running on another one.
    RunningOnTwoCpus,
    /// A task left a CPU on which another one was running.
    SwitchFromNotRunning,
    /// An event names a running task that is not the one switched to.
    EventFromNotRunning,
    /// A sleeping task ran without a wakeup.
    RanWithoutWakeup,
    /// A wakeup of a task that was already on its way.
    WokenTwice,
    /// A wakeup of a task that was running.
    WokenWhileRunning,
    /// `sched_wakeup` without the `sched_waking` that this trace has elsewhere.
    ArrivalWithoutWaking,
    /// A runqueue was concluded from where the task ran next.
    RunqueueGuessed,
    /// `contention_end` without a begin.
    EndWithoutBegin,
    /// A wait was still going on when the trace ended.
    WaitCutOff,
    /// A wait began again from its beginning: its end is missing.
    WaitRestarted,
    /// A mutex wait whose begins are not in an order that the kernel can emit.
    BadWaitGrammar,
    /// Contention inside an interrupt: not a wait of the interrupted task, and left out.
    ContentionInInterrupt,
    /// Two tasks took the same mutex with no release between.
    AcquiredWhileOwned,
    /// A task released a mutex that another one is known to own.
    ReleasedByOther,
    /// A contended release was stamped after the next owner had the lock.
    LateRelease,
    /// The owner was concluded, not seen, for a part of a wait at least.
    OwnerInferred,
    /// A wait began without a record of the owner, which other waits of the trace have.
    OwnerNotRecorded,
    /// A record of an owner without the begin of a wait that it belongs to.
    OwnerWithoutBegin,
    /// The kernel ran with proxy execution, whose donors no event shows.
    DonorsInvisible,
    /// A donor's silent migration was concluded from its next wakeup.
    DonorMigrationGuessed,
}

impl NoteKind {
    /// How much it weighs.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::WokenTwice
            | Self::WokenWhileRunning
            | Self::ContentionInInterrupt
            | Self::LateRelease => Severity::Info,
            Self::OwnerInferred | Self::RunqueueGuessed | Self::DonorMigrationGuessed => {
                Severity::Guess
            }
            Self::LostEvents
            | Self::LostOwners
            | Self::OwnerNotRecorded
            | Self::OwnerWithoutBegin
            | Self::RanWithoutWakeup
            | Self::ArrivalWithoutWaking
            | Self::EndWithoutBegin
            | Self::WaitCutOff
            | Self::WaitRestarted
            | Self::DonorsInvisible => Severity::Gap,
            Self::ClockBackwards
            | Self::RunningOnTwoCpus
            | Self::SwitchFromNotRunning
            | Self::EventFromNotRunning
            | Self::BadWaitGrammar
            | Self::AcquiredWhileOwned
            | Self::ReleasedByOther => Severity::Contradiction,
        }
    }

    /// A stable name for tables: lower case with dashes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LostEvents => "lost-events",
            Self::LostOwners => "lost-owners",
            Self::ClockBackwards => "clock-backwards",
            Self::RunningOnTwoCpus => "running-on-two-cpus",
            Self::SwitchFromNotRunning => "switch-from-not-running",
            Self::EventFromNotRunning => "event-from-not-running",
            Self::RanWithoutWakeup => "ran-without-wakeup",
            Self::WokenTwice => "woken-twice",
            Self::WokenWhileRunning => "woken-while-running",
            Self::ArrivalWithoutWaking => "arrival-without-waking",
            Self::RunqueueGuessed => "runqueue-guessed",
            Self::EndWithoutBegin => "end-without-begin",
            Self::WaitCutOff => "wait-cut-off",
            Self::WaitRestarted => "wait-restarted",
            Self::BadWaitGrammar => "bad-wait-grammar",
            Self::ContentionInInterrupt => "contention-in-interrupt",
            Self::AcquiredWhileOwned => "acquired-while-owned",
            Self::ReleasedByOther => "released-by-other",
            Self::LateRelease => "late-release",
            Self::OwnerInferred => "owner-inferred",
            Self::OwnerNotRecorded => "owner-not-recorded",
            Self::OwnerWithoutBegin => "owner-without-begin",
            Self::DonorsInvisible => "donors-invisible",
            Self::DonorMigrationGuessed => "donor-migration-guessed",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::LostEvents => "events were lost while recording",
            Self::LostOwners => "records of lock owners were lost while recording",
            Self::ClockBackwards => "the clock ran backwards; such events were moved forward",
            Self::RunningOnTwoCpus => "a task came to a CPU while it was running on another",
            Self::SwitchFromNotRunning => "a task left a CPU on which another one was running",
            Self::EventFromNotRunning => "an event came from a task that was not running there",
            Self::RanWithoutWakeup => "a sleeping task ran without a wakeup",
            Self::WokenTwice => "a task was woken that was already awake",
            Self::WokenWhileRunning => "a task was woken that was running",
            Self::ArrivalWithoutWaking => "a task arrived on a runqueue without sched_waking",
            Self::RunqueueGuessed => "a runqueue was concluded from where the task ran next",
            Self::EndWithoutBegin => "a lock wait ended whose beginning is missing",
            Self::WaitCutOff => "a lock wait was still going on at the end of the trace",
            Self::WaitRestarted => "a lock wait began again without an end",
            Self::BadWaitGrammar => "a mutex wait's events came in an impossible order",
            Self::ContentionInInterrupt => "contention inside interrupts was left out",
            Self::AcquiredWhileOwned => "a mutex was taken while another task owned it",
            Self::ReleasedByOther => "a mutex was released by a task that did not own it",
            Self::LateRelease => "a release was stamped after the next owner had the lock",
            Self::OwnerInferred => {
                "the owner of a lock was concluded, for a part of a wait at least"
            }
            Self::OwnerNotRecorded => "a lock wait began without the record of its owner",
            Self::OwnerWithoutBegin => "the wait that a lock's owner was recorded for is missing",
            Self::DonorsInvisible => "recorded under proxy execution; its donors are not shown",
            Self::DonorMigrationGuessed => "a donor's silent migration was concluded",
        }
    }
}

/// One kind of oddity over a whole trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub kind: NoteKind,
    /// When it first happened.
    pub at: Timestamp,
    /// How often.
    pub count: u64,
}

impl Note {
    /// How much it weighs.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

/// Collects notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(BTreeMap<NoteKind, (Timestamp, u64)>);

impl Notes {
    pub(crate) fn add(&mut self, kind: NoteKind, at: Timestamp) {
        let entry = self.0.entry(kind).or_insert((at, 0));
        entry.0 = entry.0.min(at);
        entry.1 += 1;
    }

    /// Takes in the notes of another collection.
    pub(crate) fn extend(&mut self, other: Self) {
        for (kind, (at, count)) in other.0 {
            let entry = self.0.entry(kind).or_insert((at, 0));
            *entry = (entry.0.min(at), entry.1 + count);
        }
    }

    /// Heaviest first.
    pub(crate) fn into_list(self) -> Vec<Note> {
        let note = |(kind, (at, count))| Note { kind, at, count };
        let mut list: Vec<Note> = self.0.into_iter().map(note).collect();
        list.sort_by_key(|n| std::cmp::Reverse(n.severity()));
        list
    }
}
