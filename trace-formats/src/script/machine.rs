//! What a scenario plays on.

use super::CpuList;
use crate::{Nanos, Timestamp};

/// The machine of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its CPUs.
    pub cpus: CpuList,
    /// CPUs that share a core.
    pub cores: Sharing,
    /// CPUs that share a last-level cache.
    pub caches: Sharing,
    /// CPUs of a node.
    pub nodes: Sharing,
    /// How often a CPU that is about to go idle takes a task that waits elsewhere, of 1024 times:
    /// one number for all, or one for each; `None`: not known.
    pub newidle: Vec<Option<u32>>,
    /// Wakeups pass over CPUs that have halted.
    pub passes_over_halted: bool,
    /// Ticks per second.
    pub hz: u32,
    /// Distance of the ticks from whole periods.
    pub tick_phase: Nanos,
    /// Whether slice ends are timed precisely.
    pub hrtick: bool,
    /// EEVDF base slice.
    pub base_slice: Nanos,
    /// Preemption model.
    pub preemption: Preemption,
    /// What the kernel's own work takes.
    pub latencies: Latencies,
    /// What is only assumed of it; for people.
    pub assumed: Vec<String>,
    /// When the schedule begins.
    pub start: Timestamp,
    /// Where the drawn part ends, for endless tasks.
    pub end: Option<Timestamp>,
}

/// Which CPUs share something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// So many in a row, in the order of their numbers.
    Per(u32),
    /// Those with the same number, one for each CPU.
    Listed(Vec<u32>),
}

/// Preemption models, as the kernel's `preempt=` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// `none`.
    None,
    /// `voluntary`.
    Voluntary,
    /// `lazy`.
    Lazy,
    /// `full`.
    Full,
}

/// What the kernel takes from a cause to its switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// A wakeup on a busy CPU.
    pub wake_busy: Nanos,
    /// On an idle CPU.
    pub wake_idle: Nanos,
    /// On a CPU that had been idle for long.
    pub wake_deep: Nanos,
    /// The timer that ends a slice.
    pub slice_end: Nanos,
    /// A mutex that somebody waits for, and that is free all the same.
    pub lock_contended: Nanos,
    /// The last look at a mutex before sleeping for it.
    pub lock_sleep: Nanos,
    /// Coming back from there, until the mutex is taken.
    pub lock_wake: Nanos,
    /// What a call on a pipe or socket does before it sleeps for bytes or room.
    pub buffer_sleep: Nanos,
    /// What it does behind that sleep, beside moving bytes.
    pub buffer_wake: Nanos,
    /// What it does to wake somebody who waits.
    pub buffer_tell: Nanos,
}

impl Default for Machine {
    /// What holds where the file is silent.
    fn default() -> Self {
        Self {
            cpus: CpuList::first(1),
            cores: Sharing::Per(1),
            caches: Sharing::ALL,
            nodes: Sharing::ALL,
            // A scenario shows what balancing can do, not what it happens to do.
            newidle: vec![Some(1024)],
            passes_over_halted: false,
            hz: 1000,
            tick_phase: Nanos(0),
            hrtick: true,
            base_slice: Nanos(0),
            preemption: Preemption::Full,
            latencies: Latencies::default(),
            assumed: Vec::new(),
            start: Timestamp(0),
            end: None,
        }
    }
}

impl Machine {
    /// The base slice of a kernel on this many CPUs.
    #[must_use]
    pub fn usual_slice(cpus: u64) -> Nanos {
        Nanos(700_000 * u64::from(1 + cpus.clamp(1, 8).ilog2()))
    }
}

impl Sharing {
    /// All CPUs share it.
    pub const ALL: Self = Self::Per(u32::MAX);

    /// The number of what each of `n` CPUs is in.
    #[must_use]
    pub fn by_position(&self, n: usize) -> Vec<u32> {
        match self {
            Self::Per(each) => (0..).take(n).map(|cpu: u32| cpu / (*each).max(1)).collect(),
            Self::Listed(list) => list.clone(),
        }
    }

    /// The shortest way to say these numbers.
    #[must_use]
    pub fn of(list: &[u32]) -> Self {
        let each = list.iter().take_while(|n| Some(*n) == list.first()).count();
        let regular = Self::Per(u32::try_from(each).unwrap_or(u32::MAX));
        if regular.by_position(list.len()) == list { regular } else { Self::Listed(list.to_vec()) }
    }
}

impl Preemption {
    /// As the kernel's `preempt=` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Voluntary => "voluntary",
            Self::Lazy => "lazy",
            Self::Full => "full",
        }
    }
}
