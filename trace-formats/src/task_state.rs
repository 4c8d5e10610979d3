//! What `prev_state` of a switch says about the task that left the CPU.

/// State of the task that a `sched_switch` took off its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrevState {
    /// `R`: still runnable, left through an ordinary `schedule()`.
    Runnable,
    /// `R+`: still runnable, preempted inside the kernel.
    Preempted,
    /// `S`: interruptible sleep.
    Interruptible,
    /// `D`: uninterruptible sleep (also killable, frozen, lock waits).
    Uninterruptible,
    /// `I`, or `W` in `trace-cmd report`: an uninterruptible sleep that counts as idle.
    IdleSleep,
    /// `T` or `t`: stopped or traced.
    Stopped,
    /// `P`: parked kernel thread.
    Parked,
    /// `X` or `Z`: dead.
    Dead,
    /// A value none of the above describes.
    Unknown,
}

impl PrevState {
    /// True when the task stays runnable.
    #[must_use]
    pub fn is_runnable(self) -> bool {
        matches!(self, Self::Runnable | Self::Preempted)
    }

    /// The letter that ftrace text prints; `?` for an unknown value.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Runnable => "R",
            Self::Preempted => "R+",
            Self::Interruptible => "S",
            Self::Uninterruptible => "D",
            Self::IdleSleep => "I",
            Self::Stopped => "T",
            Self::Parked => "P",
            Self::Dead => "X",
            Self::Unknown => "?",
        }
    }
}
