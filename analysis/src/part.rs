//! The parts that a lock wait falls into; they sum to the wait, to the nanosecond.

use model::Nanos;
use std::ops::AddAssign;

/// What a moment of a lock wait was spent on.
///
/// `owner` is the task at the end of the chain: where the owner waits for another lock, that
/// lock's owner counts, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The owner was executing: needed exclusion, not inversion.
    OwnerRunning,
    /// The owner was runnable while a task less urgent than the waiter had its CPU: *inversion*.
    BehindLessUrgent,
    /// The owner was runnable while a task at least as urgent as the waiter had its CPU,
    /// or was on its way to an idle CPU.
    BehindMoreUrgent,
    /// The chain ends in a lock whose owner is unknown, that nobody has, or that closes a cycle.
    OwnerBlocked,
    /// The owner slept for something that is no lock.
    OwnerAsleep,
    /// The owner wanted to run and its class let less urgent ones run instead: it was throttled.
    OwnerThrottled,
    /// Nobody had the lock any more, or it was the waiter's, and the waiter did not run.
    Released,
    /// The waiter was on a CPU itself: it spun or was on its way to sleep or back.
    Spinning,
    /// The trace does not say.
    Unknown,
}

impl Part {
    /// All parts, in the order of table columns.
    pub const ALL: [Self; 9] = [
        Self::OwnerRunning,
        Self::BehindLessUrgent,
        Self::BehindMoreUrgent,
        Self::OwnerBlocked,
        Self::OwnerAsleep,
        Self::OwnerThrottled,
        Self::Released,
        Self::Spinning,
        Self::Unknown,
    ];

    /// Name of the table column, without unit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnerRunning => "owner_running",
            Self::BehindLessUrgent => "owner_runnable_behind_less_urgent",
            Self::BehindMoreUrgent => "owner_runnable_behind_equal_or_more_urgent",
            Self::OwnerBlocked => "owner_blocked",
            Self::OwnerAsleep => "owner_asleep",
            Self::OwnerThrottled => "owner_throttled",
            Self::Released => "released_not_running",
            Self::Spinning => "spinning",
            Self::Unknown => "unknown",
        }
    }

    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::OwnerRunning => "owner running",
            Self::BehindLessUrgent => "owner behind less urgent work (inversion)",
            Self::BehindMoreUrgent => "owner behind equal or more urgent work",
            Self::OwnerBlocked => "owner waiting for another lock",
            Self::OwnerAsleep => "owner asleep",
            Self::OwnerThrottled => "owner throttled",
            Self::Released => "released, not running yet",
            Self::Spinning => "spinning",
            Self::Unknown => "unknown",
        }
    }
}

/// Time per [`Part`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts([Nanos; 9]);

impl Parts {
    /// Time spent on `part`.
    #[must_use]
    pub fn get(&self, part: Part) -> Nanos {
        self.0[part as usize]
    }

    /// Adds time to `part`.
    pub fn add(&mut self, part: Part, span: Nanos) {
        self.0[part as usize] += span;
    }

    /// All parts together: the wait.
    #[must_use]
    pub fn total(&self) -> Nanos {
        self.0.iter().copied().sum()
    }

    /// The part that proxy execution is made to cure.
    #[must_use]
    pub fn inversion(&self) -> Nanos {
        self.get(Part::BehindLessUrgent)
    }
}

impl AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl serde::Serialize for Parts {
    /// As an object with one field per part, in nanoseconds: `owner_running_ns` and so on.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let field = |part: Part| (format!("{}_ns", part.name()), self.get(part).0);
        serializer.collect_map(Part::ALL.map(field))
    }
}
