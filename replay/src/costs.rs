//! What the kernel's own work costs in time.

use std::fmt;
use std::str::FromStr;

/// Costs of scheduling, in nanoseconds. All zero by default: the golden scenarios are exact at zero.
///
/// The first ten are measured in each recording (`model::demand::Latencies`). The others have no
/// trace of their own there: what they cost in the recording is part of the programs' times, so
/// they stand for what a policy adds to it, and are zero unless a user sets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// From a wakeup to the switch it causes on a busy CPU; the task that is running runs on.
    pub wake_busy: u64,
    /// From a wakeup to the switch it causes on an idle CPU: its way out of its idle state.
    pub wake_idle: u64,
    /// The same for a CPU that has been idle for 0.5 ms or longer, from a deeper idle state.
    pub wake_deep: u64,
    /// From the end of a slice to the switch it causes.
    pub slice_end: u64,
    /// What a task does in a mutex that has waiters, and that is free all the same.
    pub lock_contended: u64,
    /// What the CPU does for a task between its last look at a mutex and its sleep.
    pub lock_sleep: u64,
    /// What a task does between coming back from there and having the mutex.
    pub lock_wake: u64,
    /// What a call on a pipe or socket does before it sleeps for bytes or room.
    pub buffer_sleep: u64,
    /// What it does behind that sleep, beside moving bytes.
    pub buffer_wake: u64,
    /// What it does to wake somebody who waits.
    pub buffer_tell: u64,
    /// What a switch costs the task that comes to the CPU. `perf bench sched pipe` measures it.
    pub switch: u64,
    /// On top for a task that last ran on another CPU of the same cache. The kernel holds a task
    /// for cache-hot for 0.5 ms (`sysctl_sched_migration_cost`), an upper bound of it.
    pub migration: u64,
    /// On top for a task that last ran under another last-level cache.
    pub far_migration: u64,
    /// On top for a task that last ran on another node.
    pub node_migration: u64,
    /// On top of a wakeup's way to another CPU: the interrupt between CPUs.
    pub ipi: u64,
    /// Moving one blocked donor to its owner's CPU: two runqueue locks in a row.
    pub proxy_migration: u64,
    /// One pass through the idle task to let go of a stack: two switches.
    pub idle_detour: u64,
    /// Following one owner on a walk along a donation chain: two locks.
    pub chain_hop: u64,
}

impl Costs {
    /// Every cost by the name users type, with its value.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 18] {
        [
            ("wake-busy", self.wake_busy),
            ("wake-idle", self.wake_idle),
            ("wake-deep", self.wake_deep),
            ("slice-end", self.slice_end),
            ("lock-contended", self.lock_contended),
            ("lock-sleep", self.lock_sleep),
            ("lock-wake", self.lock_wake),
            ("buffer-sleep", self.buffer_sleep),
            ("buffer-wake", self.buffer_wake),
            ("buffer-tell", self.buffer_tell),
            ("switch", self.switch),
            ("migration", self.migration),
            ("far-migration", self.far_migration),
            ("node-migration", self.node_migration),
            ("ipi", self.ipi),
            ("proxy-migration", self.proxy_migration),
            ("idle-detour", self.idle_detour),
            ("chain-hop", self.chain_hop),
        ]
    }

    /// These costs with one of them set otherwise.
    ///
    /// # Errors
    ///
    /// When there is no such cost.
    pub fn set(&mut self, cost: &Cost) -> Result<(), UnknownCost> {
        let field = match cost.name.as_str() {
            "wake-busy" => &mut self.wake_busy,
            "wake-idle" => &mut self.wake_idle,
            "wake-deep" => &mut self.wake_deep,
            "slice-end" => &mut self.slice_end,
            "lock-contended" => &mut self.lock_contended,
            "lock-sleep" => &mut self.lock_sleep,
            "lock-wake" => &mut self.lock_wake,
            "buffer-sleep" => &mut self.buffer_sleep,
            "buffer-wake" => &mut self.buffer_wake,
            "buffer-tell" => &mut self.buffer_tell,
            "switch" => &mut self.switch,
            "migration" => &mut self.migration,
            "far-migration" => &mut self.far_migration,
            "node-migration" => &mut self.node_migration,
            "ipi" => &mut self.ipi,
            "proxy-migration" => &mut self.proxy_migration,
            "idle-detour" => &mut self.idle_detour,
            "chain-hop" => &mut self.chain_hop,
            _ => return Err(UnknownCost(format!("{}={}", cost.name, cost.ns))),
        };
        *field = cost.ns;
        Ok(())
    }
}

/// One cost as a user sets it: `NAME=NS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Its name.
    pub name: String,
    /// Nanoseconds, at most a second.
    pub ns: u64,
}

/// Text that sets no cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCost(pub String);

impl fmt::Display for UnknownCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Costs::default().all().map(|(name, _)| name).join(", ");
        write!(f, "`{}` sets no cost: write NAME=NS, up to 1000000000; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownCost {}

impl FromStr for Cost {
    type Err = UnknownCost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('=').and_then(|(name, ns)| {
            let ns = ns.parse().ok().filter(|ns| *ns <= 1_000_000_000)?;
            Some(Self { name: name.to_owned(), ns })
        });
        parsed.ok_or_else(|| UnknownCost(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cost_can_be_set_by_its_name() {
        let mut costs = Costs::default();
        for (index, (name, _)) in (1..).zip(Costs::default().all()) {
            let cost: Cost = format!("{name}={index}").parse().expect("a cost");
            costs.set(&cost).expect("a name of the list");
        }
        assert_eq!(
            costs.all().map(|(_, ns)| ns),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
        );
        assert!("switch".parse::<Cost>().is_err());
        assert!("switch=-1".parse::<Cost>().is_err());
        assert!(costs.set(&Cost { name: "tea".to_owned(), ns: 1 }).is_err());
    }
}
