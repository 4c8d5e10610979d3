//! How often a CPU that was about to go idle took a task that waited elsewhere.

use crate::{CpuId, CpuSet, Event, Host, NameId, Names, PrevState, SchedEvent, Tid};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer chances than this say nothing about a CPU.
const FEWEST: u32 = 20;
/// A task that left its CPU less than this ago is not moved (`sysctl_sched_migration_cost`).
const HOT_NS: u64 = 500_000;
/// The scale of what is measured, as the kernel has it.
const OF: u32 = 1024;

/// A task that wants a CPU.
#[derive(Clone, Copy, Debug)]
struct Queued {
    cpu: CpuId,
    left: u64,
    comm: NameId,
    prio: i32,
}

/// Follows a recording; every task is allowed everywhere unless the sidecar says otherwise.
#[derive(Debug)]
pub(super) struct Chances<'r> {
    names: &'r Names,
    host: Option<&'r Host>,
    running: BTreeMap<CpuId, Tid>,
    queued: BTreeMap<Tid, Queued>,
    left: BTreeMap<Tid, u64>,
    waking: BTreeSet<Tid>,
    /// By id and name: names and affinities change together, when a program begins.
    allowed: BTreeMap<(Tid, NameId), Option<CpuSet>>,
    /// A task was taken on this CPU since its last switch.
    took: BTreeSet<CpuId>,
    /// (chances taken, chances) of each CPU.
    counts: BTreeMap<CpuId, (u32, u32)>,
}

impl<'r> Chances<'r> {
    pub(super) fn new(names: &'r Names, host: Option<&'r Host>) -> Self {
        Self {
            names,
            host,
            running: BTreeMap::new(),
            queued: BTreeMap::new(),
            left: BTreeMap::new(),
            waking: BTreeSet::new(),
            allowed: BTreeMap::new(),
            took: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// For each CPU the share of its chances that it took, of 1024; `None` where there were few.
    ///
    /// # Source
    ///
    /// Our own measure. The kernel dices by its past success (`NI_RANDOM`) and does not try at all
    /// where an attempt once took longer than the CPU is idle on average (`max_newidle_lb_cost`);
    /// both are states of a CPU that last for seconds and that no trace shows.
    pub(super) fn finish(&self, cpus: &[CpuId]) -> Vec<Option<u32>> {
        if cpus.len() < 2 {
            return vec![None; cpus.len()];
        }
        let share = |cpu: &CpuId| {
            let (taken, of) = self.counts.get(cpu).copied().unwrap_or_default();
            let share = u64::from(OF) * u64::from(taken) / u64::from(of.max(1));
            (of >= FEWEST).then(|| u32::try_from(share).unwrap_or(OF))
        };
        cpus.iter().map(share).collect()
    }

    fn queue(&mut self, tid: Tid, queued: Queued) {
        let (host, names) = (self.host, self.names);
        self.allowed.entry((tid, queued.comm)).or_insert_with(|| {
            let name = names.text(queued.comm);
            // Kernel threads of one CPU.
            if name.contains('/') {
                return Some(CpuSet::of(&[]));
            }
            let affinity = host?.task(tid, name)?.affinity.as_ref()?;
            Some(CpuSet::of(&affinity.iter().map(|c| CpuId(*c)).collect::<Vec<_>>()))
        });
        self.queued.insert(tid, queued);
    }

    /// Takes the next event.
    pub(super) fn observe(&mut self, e: &Event) {
        match e.kind {
            SchedEvent::Waking(w) => {
                self.waking.insert(w.tid);
            }
            SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                self.waking.remove(&w.tid);
                let left = self.left.get(&w.tid).copied().unwrap_or(0);
                let queued = Queued { cpu: w.target_cpu, left, comm: w.comm, prio: w.prio };
                self.queue(w.tid, queued);
            }
            SchedEvent::MigrateTask { tid, dest_cpu, .. } if !self.waking.contains(&tid) => {
                if let Some(queued) = self.queued.get_mut(&tid) {
                    queued.cpu = dest_cpu;
                }
                // Taken by the CPU itself, before it went idle.
                if dest_cpu == e.cpu && self.running.get(&e.cpu) != Some(&Tid::IDLE) {
                    self.took.insert(e.cpu);
                }
            }
            SchedEvent::Switch { prev, prev_comm, prev_prio, prev_state, next, .. } => {
                if prev != Tid::IDLE {
                    self.left.insert(prev, e.at.0);
                    self.queued.remove(&prev);
                    if matches!(prev_state, PrevState::Runnable | PrevState::Preempted) {
                        let (cpu, left) = (e.cpu, e.at.0);
                        let queued = Queued { cpu, left, comm: prev_comm, prio: prev_prio };
                        self.queue(prev, queued);
                    }
                }
                self.queued.remove(&next);
                self.running.insert(e.cpu, next);
                let took = self.took.remove(&e.cpu);
                let passed = next == Tid::IDLE && prev != Tid::IDLE && self.is_chance(e);
                let count = self.counts.entry(e.cpu).or_insert((0, 0));
                count.0 += u32::from(took);
                count.1 += u32::from(took || passed);
            }
            _ => {}
        }
    }

    /// Whether there is a task on a busy CPU that this one could take.
    fn is_chance(&self, e: &Event) -> bool {
        self.queued.iter().any(|(tid, queued)| {
            let elsewhere = queued.cpu != e.cpu
                && self.running.get(&queued.cpu).is_some_and(|running| *running != Tid::IDLE);
            let allowed = self.allowed.get(&(*tid, queued.comm)).and_then(Option::as_ref);
            elsewhere
                && queued.prio >= 100
                && !self.waking.contains(tid)
                && allowed.is_none_or(|set| set.has(e.cpu))
                && e.at.0.saturating_sub(queued.left) >= HOT_NS
        })
    }
}
