//! The policies a demand can be replayed under.

use crate::mechanism::{GivesUp, Mechanisms};
use model::Nanos;
use model::demand::Cover;
use std::fmt;
use std::str::FromStr;

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Answers as the trace did: the self-test of model and engine.
    Recorded,
    /// The kernel without proxy execution.
    None,
    /// Linux 6.17: donors only on their owner's own runqueue.
    Pe617,
    /// Linux 7.1: donors migrate, and return when the owner's CPU schedules next.
    Pe71,
    /// Linux 7.3: donors migrate, return in the wakeup, and are handed the mutex.
    Pe73,
    /// As 7.3, and a whole chain of donors migrates at once.
    PeChain,
    /// The full series: donors wait on sleeping owners and come back with them.
    PeSleeping,
    /// Classic priority inheritance, as `rt_mutex` does it.
    Pi,
}

impl Policy {
    /// Every policy, in the order of the manual.
    pub const ALL: [Self; 8] = [
        Self::Recorded,
        Self::None,
        Self::Pe617,
        Self::Pe71,
        Self::Pe73,
        Self::PeChain,
        Self::PeSleeping,
        Self::Pi,
    ];

    /// The name users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::None => "none",
            Self::Pe617 => "pe-6.17",
            Self::Pe71 => "pe-7.1",
            Self::Pe73 => "pe-7.3",
            Self::PeChain => "pe-chain",
            Self::PeSleeping => "pe-sleeping",
            Self::Pi => "pi",
        }
    }

    /// One sentence for `resched policies`.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Recorded => "answers as the trace did; must reproduce it exactly",
            Self::None => "the kernel without proxy execution",
            Self::Pe617 => "Linux 6.17: a waiter helps only an owner on its own runqueue",
            Self::Pe71 => {
                "Linux 7.1: a waiter moves to its owner's CPU, and back when that CPU schedules"
            }
            Self::Pe73 => "Linux 7.3: it moves back in its wakeup, and unlock gives it the mutex",
            Self::PeChain => "7.3, and a whole chain of waiters moves at once",
            Self::PeSleeping => "the full series: waiters stay with a sleeping owner",
            Self::Pi => "classic priority inheritance: the owner gets the waiter's priority",
        }
    }

    /// What it switches on. `Recorded` decides nothing itself and has the mechanisms of `None`.
    ///
    /// # Source
    ///
    /// Kernel model 2.6.
    #[must_use]
    pub fn mechanisms(self) -> Mechanisms {
        let none = Mechanisms {
            proxy_execution: false,
            inheritance: false,
            donor_migration: false,
            chain_migration: false,
            sleeping_owners: false,
            handoff: false,
            return_in_wakeup: false,
            local_handoff_resched: false,
            spinning: true,
            unlock_window: Nanos(0),
            gives_up: GivesUp::Link,
            cover: Cover::default(),
        };
        let same_queue = Mechanisms { proxy_execution: true, gives_up: GivesUp::Head, ..none };
        let merged = Mechanisms {
            donor_migration: true,
            handoff: true,
            return_in_wakeup: true,
            gives_up: GivesUp::Link,
            ..same_queue
        };
        match self {
            Self::Recorded | Self::None => none,
            Self::Pe617 => same_queue,
            Self::Pe71 => Mechanisms { donor_migration: true, ..same_queue },
            Self::Pe73 => merged,
            Self::PeChain => Mechanisms { chain_migration: true, ..merged },
            Self::PeSleeping => {
                Mechanisms { chain_migration: true, sleeping_owners: true, ..merged }
            }
            Self::Pi => Mechanisms { inheritance: true, ..none },
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy name that is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy(pub String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built = Policy::ALL.map(Policy::name).join(", ");
        write!(f, "there is no policy `{}`; there are {built}", self.0)
    }
}

impl std::error::Error for UnknownPolicy {}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or(UnknownPolicy(name.to_owned()))
    }
}
