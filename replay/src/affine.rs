//! Where a task may run, and what becomes of one that is where it may not.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::fair::Join;
use crate::sched::Entry;
use crate::state::T;
use model::CpuSet;
use model::demand::{Machine, TaskDemand};

/// The CPUs a task may use at its arrival; `None`: all.
pub(crate) fn at_arrival(task: &TaskDemand, machine: &Machine) -> Option<CpuSet> {
    let set = task.affinity.as_ref()?;
    let all = task.beside_affinity.as_ref().map_or_else(|| set.clone(), |more| set.and(more));
    existing(&all, machine)
}

/// A set that names no CPU of the machine binds nobody.
///
/// # Source
///
/// `select_fallback_rq` in `kernel/sched/core.c`.
fn existing(set: &CpuSet, machine: &Machine) -> Option<CpuSet> {
    machine.cpus.iter().any(|cpu| set.has(*cpu)).then(|| set.clone())
}

impl Engine<'_> {
    pub(crate) fn allowed(&self, p: T, cpu: usize) -> bool {
        self.task(p).affinity.as_ref().is_none_or(|set| set.has(self.machine.cpus[cpu]))
    }

    /// The CPU itself, or the first that the task may use.
    pub(crate) fn allowed_or_first(&self, p: T, cpu: usize) -> usize {
        if self.allowed(p, cpu) {
            return cpu;
        }
        (0..self.cpus.len()).find(|&other| self.allowed(p, other)).unwrap_or(cpu)
    }

    /// The running task is bound to its affinity, and leaves a CPU outside of it at once.
    ///
    /// # Source
    ///
    /// `__set_cpus_allowed_ptr` and `affine_move_task` in `kernel/sched/core.c`.
    ///
    /// # Deviation
    ///
    /// The stopper thread that moves it takes no time and leaves no event.
    pub(crate) fn keep_affinity(&mut self, cpu: usize, t: T) {
        let bound = self.demand.tasks[t as usize].affinity.as_ref();
        self.tasks[t as usize].affinity = bound.and_then(|set| existing(set, self.machine));
        let dest = self.allowed_or_first(t, cpu);
        if dest == cpu {
            return;
        }
        if self.cpus[cpu].donor == Some(t) {
            self.account(cpu);
            self.drop_donor(cpu);
        }
        self.dequeue_to_move(cpu, t);
        let task = &mut self.tasks[t as usize];
        (task.cpu, task.wake_cpu) = (dest, dest);
        self.enqueue(dest, t);
        self.cpus[cpu].cause = Rule::AffinityHolds;
        self.schedule(cpu, Entry::Preempt);
        self.rule = Rule::AffinityHolds;
        self.emit_migrate(dest, t, cpu, dest);
        self.wakeup_preempt(dest, t, Join::Again);
    }
}
