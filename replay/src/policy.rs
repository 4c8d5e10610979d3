//! The policies a demand can be replayed under, and the mechanisms they are made of.

use std::fmt;
use std::str::FromStr;

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Answers as the trace did: the self-test of model and engine.
    Recorded,
    /// The kernel without proxy execution.
    None,
    /// Mainline 7.3: donors migrate to the owner, return in the wakeup, and are handed the mutex.
    Pe73,
}

/// The mechanisms a policy switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Mutex waiters stay queued and lend their scheduling context to the owner.
    pub proxy_execution: bool,
    /// Unlock gives the mutex to the donor that is running the owner.
    pub handoff: bool,
    /// A migrated donor returns to its own CPU within the wakeup.
    pub return_in_wakeup: bool,
    /// Unlock asks the donor's own CPU to reschedule.
    pub local_handoff_resched: bool,
    /// Contenders spin while the owner is on a CPU.
    pub spinning: bool,
}

impl Policy {
    /// Every policy that is built, in the order of the manual.
    pub const ALL: [Self; 3] = [Self::Recorded, Self::None, Self::Pe73];

    /// The name users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::None => "none",
            Self::Pe73 => "pe-7.3",
        }
    }

    /// One sentence for `resched policies`.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Recorded => "answers as the trace did; must reproduce it exactly",
            Self::None => "the kernel without proxy execution",
            Self::Pe73 => "Linux 7.3: donor migration, return in the wakeup, hand-off to the donor",
        }
    }

    /// What it switches on. `Recorded` decides nothing itself and has the mechanisms of `None`.
    #[must_use]
    pub fn mechanisms(self) -> Mechanisms {
        let proxy = self == Self::Pe73;
        Mechanisms {
            proxy_execution: proxy,
            handoff: proxy,
            return_in_wakeup: proxy,
            local_handoff_resched: false,
            spinning: true,
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
        write!(f, "there is no policy `{}`; built are: {built}", self.0)
    }
}

impl std::error::Error for UnknownPolicy {}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or(UnknownPolicy(name.to_owned()))
    }
}
