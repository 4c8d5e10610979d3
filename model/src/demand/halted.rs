//! Whether wakeups pass over CPUs that are idle, as in a virtual machine whose idle CPUs look as if
//! the host had taken them away.

use crate::{CpuId, Event, SchedEvent, Tid};
use std::collections::{BTreeMap, BTreeSet};

/// A CPU that has been idle for so long has halted, ns.
pub const HALTED_NS: u64 = 20_000;
/// Fewer wakeups than this say nothing.
const FEWEST: u32 = 50;
/// Of all wakeups that could have gone to such a CPU, at most so many percent do.
const TAKEN_PERCENT: u32 = 25;

/// Counts wakeups of fair tasks while a CPU was idle on which the task had run before.
#[derive(Debug, Default)]
pub(super) struct Halted {
    idle: BTreeMap<CpuId, u64>,
    ran_on: BTreeMap<Tid, BTreeSet<CpuId>>,
    taken: u32,
    passed: u32,
}

impl Halted {
    pub(super) fn observe(&mut self, event: &Event) {
        match event.kind {
            SchedEvent::Switch { next, .. } if next == Tid::IDLE => {
                self.idle.insert(event.cpu, event.at.0);
            }
            SchedEvent::Switch { next, .. } => {
                self.idle.remove(&event.cpu);
                self.ran_on.entry(next).or_default().insert(event.cpu);
            }
            SchedEvent::Wakeup(woken) if woken.prio >= 100 => {
                let at = event.at.0;
                let is_halted = |since: &u64| at.saturating_sub(*since) >= HALTED_NS;
                let ran_on = self.ran_on.get(&woken.tid);
                let known = |cpu: &CpuId| ran_on.is_some_and(|cpus| cpus.contains(cpu));
                if self.idle.get(&woken.target_cpu).is_some_and(is_halted) {
                    // Where it is the only one it may use, it says nothing.
                    self.taken += u32::from(ran_on.is_some_and(|cpus| cpus.len() > 1));
                } else if !self.idle.contains_key(&woken.target_cpu)
                    && self.idle.iter().any(|(cpu, since)| is_halted(since) && known(cpu))
                {
                    self.passed += 1;
                }
            }
            _ => {}
        }
    }

    /// # Source
    ///
    /// Our own measure of what `available_idle_cpu` in `kernel/sched/core.c` finds:
    /// `vcpu_is_preempted` is true of a virtual CPU that has halted, because the host has taken it
    /// off (`__kvm_vcpu_is_preempted` in `arch/x86/kernel/kvm.c`).
    pub(super) fn are_passed_over(&self) -> bool {
        let all = self.taken.saturating_add(self.passed);
        all >= FEWEST && u64::from(self.taken) * 100 <= u64::from(all) * u64::from(TAKEN_PERCENT)
    }
}
