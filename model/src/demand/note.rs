//! What a demand does not say as well as one would wish, and what that is called.

/// Something the demand does not say as well as one would wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DemandNote {
    /// A mutex was released whose acquisition is not in the trace; its section's start is a guess.
    SectionStartGuessed,
    /// A mutex went to somebody else without a release in the trace; its section's end is a guess.
    SectionEndGuessed,
    /// A round of a loop is taken to have a section that other rounds show.
    SectionAssumed,
    /// A mutex wait ended without the mutex.
    LockAttemptFailed,
    /// A task fell asleep and ran again without a wakeup between.
    WakeupMissing,
    /// A task came to a CPU, and another one left it: how long the first ran is not known.
    SwitchMissing,
    /// A wakeup's context is not recorded: taken as a task's if one was running.
    WakerContextGuessed,
    /// A wait was still going on when the recording ended.
    WaitCutOff,
    /// A task computed until a date, whatever CPU time it got.
    BusyWaitInferred,
    /// A task left its CPU runnable without a cause that the trace shows: taken as a yield.
    YieldInferred,
    /// A mutex is taken to be that of a pipe, and each of its sections to move a message.
    PipeInferred,
    /// Records of calls on pipes and sockets were lost: waits for them are waits for whoever ended
    /// them.
    TransfersLost,
    /// An event lies behind or before ten minutes of silence: a damaged time stamp. It is left out.
    OutOfTime,
}

impl DemandNote {
    /// A stable name for programs: lower case with dashes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SectionStartGuessed => "section-start-guessed",
            Self::SectionEndGuessed => "section-end-guessed",
            Self::SectionAssumed => "section-assumed",
            Self::LockAttemptFailed => "lock-attempt-failed",
            Self::WakeupMissing => "wakeup-missing",
            Self::SwitchMissing => "switch-missing",
            Self::WakerContextGuessed => "waker-context-guessed",
            Self::WaitCutOff => "wait-cut-off",
            Self::BusyWaitInferred => "busy-wait-inferred",
            Self::YieldInferred => "yield-inferred",
            Self::PipeInferred => "pipe-inferred",
            Self::TransfersLost => "transfers-lost",
            Self::OutOfTime => "out-of-time",
        }
    }

    /// For people; how often is said behind it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::SectionStartGuessed => "the start of a critical section is a guess",
            Self::SectionEndGuessed => "the end of a critical section is a guess",
            Self::SectionAssumed => {
                "a critical section is assumed, as in other rounds of the same loop"
            }
            Self::LockAttemptFailed => "a wait for a mutex ended without the mutex",
            Self::WakeupMissing => "a task ran again without a wakeup: taken as woken by a device",
            Self::SwitchMissing => "how long a task ran is not known: its switch is missing",
            Self::WakerContextGuessed => {
                "whether a task or an interrupt woke a task is a guess: the context is not recorded"
            }
            Self::WaitCutOff => "a wait went on when the recording ended",
            Self::BusyWaitInferred => "a task computed until a date: taken as watching the clock",
            Self::YieldInferred => "a task gave up its CPU without a cause: taken as sched_yield",
            Self::PipeInferred => {
                "a mutex is taken for that of a pipe: each section of it moves one message"
            }
            Self::TransfersLost => {
                "records of pipes and sockets were lost: who waits for them waits for a task instead"
            }
            Self::OutOfTime => "an event ten minutes away from the others is left out",
        }
    }
}
