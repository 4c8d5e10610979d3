//! The mechanisms that policies are made of, each with a switch of its own.

use model::Nanos;
use model::demand::Cover;
use std::fmt;
use std::str::FromStr;

/// Who stops waiting on the runqueue when a chain of waiters leads to nobody who can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivesUp {
    /// The task that was picked.
    Head,
    /// The waiter at whose owner the chain ends.
    Link,
}

/// What a replay switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Mutex waiters stay queued and lend their scheduling context to the owner.
    pub proxy_execution: bool,
    /// A mutex owner gets the priority of its most urgent waiter.
    pub inheritance: bool,
    /// A donor whose owner is on another CPU moves there.
    pub donor_migration: bool,
    /// All waiters of a chain move at once.
    pub chain_migration: bool,
    /// Donors of a sleeping owner wait with it and are queued again when it wakes.
    pub sleeping_owners: bool,
    /// Unlock gives the mutex to the donor that is running the owner.
    pub handoff: bool,
    /// A migrated donor returns to its own CPU within the wakeup; else its owner's CPU sends it
    /// back when it picks it next.
    pub return_in_wakeup: bool,
    /// Unlock asks the donor's own CPU to reschedule.
    pub local_handoff_resched: bool,
    /// Contenders spin while the owner is on a CPU.
    pub spinning: bool,
    /// CPU time between an unlock's look at its donor and the release; it can be preempted there.
    pub unlock_window: Nanos,
    /// Who goes to sleep at the end of a chain.
    pub gives_up: GivesUp,
    /// Which other locks' waiters are donors too: a what-if that no kernel has.
    pub cover: Cover,
}

/// A mechanism that users switch by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Switch {
    /// [`Mechanisms::proxy_execution`].
    ProxyExecution,
    /// [`Mechanisms::inheritance`].
    Inheritance,
    /// [`Mechanisms::donor_migration`].
    DonorMigration,
    /// [`Mechanisms::chain_migration`].
    ChainMigration,
    /// [`Mechanisms::sleeping_owners`].
    SleepingOwners,
    /// [`Mechanisms::handoff`].
    Handoff,
    /// [`Mechanisms::return_in_wakeup`].
    ReturnInWakeup,
    /// [`Mechanisms::local_handoff_resched`].
    LocalHandoffResched,
    /// [`Mechanisms::spinning`].
    Spinning,
    /// [`Mechanisms::unlock_window`].
    UnlockWindow,
}

impl Switch {
    /// Every switch, in the order of the manual.
    pub const ALL: [Self; 10] = [
        Self::ProxyExecution,
        Self::Inheritance,
        Self::DonorMigration,
        Self::ChainMigration,
        Self::SleepingOwners,
        Self::Handoff,
        Self::ReturnInWakeup,
        Self::LocalHandoffResched,
        Self::Spinning,
        Self::UnlockWindow,
    ];

    /// The name users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProxyExecution => "proxy-execution",
            Self::Inheritance => "inheritance",
            Self::DonorMigration => "donor-migration",
            Self::ChainMigration => "chain-migration",
            Self::SleepingOwners => "sleeping-owners",
            Self::Handoff => "handoff",
            Self::ReturnInWakeup => "return-in-wakeup",
            Self::LocalHandoffResched => "local-handoff-resched",
            Self::Spinning => "spinning",
            Self::UnlockWindow => "unlock-window",
        }
    }

    /// What it does, for `resched policies`.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::ProxyExecution => "mutex waiters lend their place on the runqueue to the owner",
            Self::Inheritance => "a mutex owner gets the priority of its most urgent waiter",
            Self::DonorMigration => "a donor moves to its owner's CPU; else it goes to sleep",
            Self::ChainMigration => "all waiters of a chain move in one step",
            Self::SleepingOwners => "donors wait with a sleeping owner and come back with it",
            Self::Handoff => "unlock gives the mutex to the donor; else to whoever comes first",
            Self::ReturnInWakeup => "a moved donor goes home in its wakeup; else when next picked",
            Self::LocalHandoffResched => "unlock asks the donor's own CPU to reschedule",
            Self::Spinning => "contenders spin while the owner is on a CPU",
            Self::UnlockWindow => "ns in which an unlock can be preempted: unlock-window=NS",
        }
    }

    /// Whether `mechanisms` have it.
    #[must_use]
    pub fn is_on(self, mechanisms: &Mechanisms) -> bool {
        let m = mechanisms;
        match self {
            Self::ProxyExecution => m.proxy_execution,
            Self::Inheritance => m.inheritance,
            Self::DonorMigration => m.donor_migration,
            Self::ChainMigration => m.chain_migration,
            Self::SleepingOwners => m.sleeping_owners,
            Self::Handoff => m.handoff,
            Self::ReturnInWakeup => m.return_in_wakeup,
            Self::LocalHandoffResched => m.local_handoff_resched,
            Self::Spinning => m.spinning,
            Self::UnlockWindow => m.unlock_window.0 > 0,
        }
    }
}

/// A switch with its position: what `--with` and `--without` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// On.
    With(Switch),
    /// Off.
    Without(Switch),
    /// An unlock that can be preempted for this long.
    UnlockWindow(Nanos),
}

impl Mechanisms {
    /// These mechanisms with one of them set otherwise.
    #[must_use]
    pub fn set(mut self, setting: Setting) -> Self {
        let (switch, on) = match setting {
            Setting::With(switch) => (switch, true),
            Setting::Without(switch) => (switch, false),
            Setting::UnlockWindow(window) => {
                self.unlock_window = window;
                return self;
            }
        };
        match switch {
            Switch::ProxyExecution => self.proxy_execution = on,
            Switch::Inheritance => self.inheritance = on,
            Switch::DonorMigration => self.donor_migration = on,
            Switch::ChainMigration => self.chain_migration = on,
            Switch::SleepingOwners => self.sleeping_owners = on,
            Switch::Handoff => self.handoff = on,
            Switch::ReturnInWakeup => self.return_in_wakeup = on,
            Switch::LocalHandoffResched => self.local_handoff_resched = on,
            Switch::Spinning => self.spinning = on,
            Switch::UnlockWindow => self.unlock_window = Nanos(0),
        }
        self
    }

    /// Why these cannot be had together, if so.
    ///
    /// # Errors
    ///
    /// When waiters would both lend their place and give their priority, or when a mechanism of
    /// proxy execution is on without it.
    pub fn check(&self) -> Result<(), ImpossibleSet> {
        if self.proxy_execution && self.inheritance {
            return Err(ImpossibleSet {
                switch: Switch::Inheritance,
                needs: "proxy-execution off: a waiter either stays queued or sleeps",
            });
        }
        let donors_only = [
            Switch::DonorMigration,
            Switch::ChainMigration,
            Switch::SleepingOwners,
            Switch::Handoff,
            Switch::ReturnInWakeup,
            Switch::LocalHandoffResched,
        ];
        let lonely = donors_only.into_iter().find(|s| s.is_on(self) && !self.proxy_execution);
        if let Some(switch) = lonely {
            let needs = "proxy-execution: take a policy that has it";
            return Err(ImpossibleSet { switch, needs });
        }
        if self.cover != Cover::default() && !self.proxy_execution {
            return Err(ImpossibleSet {
                switch: Switch::ProxyExecution,
                needs: "to be on where it is to cover other locks",
            });
        }
        for switch in [Switch::ChainMigration, Switch::ReturnInWakeup] {
            if switch.is_on(self) && !self.donor_migration {
                return Err(ImpossibleSet { switch, needs: "donor-migration" });
            }
        }
        Ok(())
    }
}

/// A switch whose condition is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImpossibleSet {
    /// The switch.
    pub switch: Switch,
    /// What it needs.
    pub needs: &'static str,
}

impl fmt::Display for ImpossibleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}", self.switch.name(), self.needs)
    }
}

impl std::error::Error for ImpossibleSet {}

/// A switch that does not exist, or is set wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSwitch(pub String);

impl fmt::Display for UnknownSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Switch::ALL.map(Switch::name).join(", ");
        write!(f, "there is no switch `{}`; there are {all} (unlock-window=NS)", self.0)
    }
}

impl std::error::Error for UnknownSwitch {}

impl FromStr for Setting {
    type Err = UnknownSwitch;

    /// Reads `NAME`, which switches on, and `unlock-window=NS`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownSwitch(text.to_owned());
        if let Some((name, value)) = text.split_once('=') {
            let window = value.parse().map_err(|_| unknown())?;
            let is_window = name == Switch::UnlockWindow.name();
            return is_window.then_some(Self::UnlockWindow(Nanos(window))).ok_or_else(unknown);
        }
        let switch = Switch::ALL.into_iter().find(|s| s.name() == text).ok_or_else(unknown)?;
        if switch == Switch::UnlockWindow { Err(unknown()) } else { Ok(Self::With(switch)) }
    }
}
