//! What must hold between any two steps, whatever the demand; and what a replay ended in.

use crate::engine::Engine;
use crate::state::{Class, OnRq, Phase, T};
use model::Timestamp;
use model::demand::LockIndex;

impl Engine<'_> {
    /// Stops at the first broken invariant.
    ///
    /// # Source
    ///
    /// Kernel model 2.9.
    ///
    /// # Panics
    ///
    /// When one is broken: a bug of the engine.
    pub(crate) fn check_invariants(&self) {
        let mut queued = vec![0u32; self.tasks.len()];
        for (cpu, rq) in self.cpus.iter().enumerate() {
            let fair = rq.fair.tree.values().chain(rq.fair.current.iter());
            let current_is_gone = |t: &&T| self.task(**t).is_queued();
            let realtime = rq.rt.values().flatten().chain(&rq.stop);
            let all = fair.chain(realtime).chain(rq.dl.iter().map(|(_, t)| t));
            for &t in all.filter(current_is_gone) {
                queued[t as usize] += 1;
                assert_eq!(self.task(t).cpu, cpu, "a task is queued on the CPU it says");
            }
            if let Some(running) = rq.running {
                let task = self.task(running);
                assert!(task.on_cpu, "who runs is on a CPU");
                assert!(self.allowed(running, cpu), "who runs is allowed to");
                assert_eq!(task.cpu, cpu, "who runs is queued where it runs");
            }
        }
        for (index, task) in self.tasks.iter().enumerate() {
            assert!(queued[index] <= 1, "a task is in one queue at most");
            let throttled = task.class == Class::Deadline && task.dl.throttled;
            if task.is_queued() && !throttled {
                assert_eq!(queued[index], 1, "a queued task is in a queue");
            }
            if task.asleep.is_none() && !matches!(task.phase, Phase::Waiting(_)) {
                assert!(task.blocked_on.is_none(), "only a waiter is blocked on a mutex");
            }
            if task.parked_on.is_some() {
                assert_eq!(task.on_rq, OnRq::No, "who waits with a sleeper is off the queues");
            }
        }
        self.check_locks();
        self.check_groups();
    }

    /// What a cgroup has queued is what is queued of its tasks.
    fn check_groups(&self) {
        if self.groups.is_empty() {
            return;
        }
        let mut found = vec![vec![0; self.cpus.len()]; self.groups.len()];
        for (index, task) in self.tasks.iter().enumerate() {
            let mut next = self.demand.tasks[index].group;
            while let Some(group) = next {
                if task.is_queued() && task.class == Class::Fair {
                    found[group.index()][task.cpu] += 1;
                }
                next = self.demand.groups[group.index()].parent;
            }
        }
        for (group, found) in self.groups.iter().zip(found) {
            assert_eq!(group.queued, found, "a group counts what is queued in it");
            let nothing_weighs =
                group.queued.iter().zip(&group.load).all(|(q, l)| (*q > 0) == (*l > 0));
            assert!(nothing_weighs, "a group weighs something where something is queued");
        }
    }

    /// A free lock with waiters has one that is awake, or it would never be taken.
    fn check_locks(&self) {
        for lock in self.locks.iter().filter(|l| l.word.owner.is_none()) {
            let awake = lock.waiters.iter().any(|&w| self.task(w).asleep.is_none());
            assert!(lock.waiters.is_empty() || awake, "a waiter of a free lock is awake");
        }
    }

    /// Says which tasks wait for each other in a cycle.
    pub(crate) fn report_deadlocks(&mut self) {
        let mut told = vec![false; self.tasks.len()];
        for start in 0..self.tasks.len() {
            let Some(cycle) = self.cycle_from(start, &mut told) else { continue };
            let name = |t: &usize| {
                let task = &self.tasks[*t];
                format!("{} ({})", self.demand.names.text(task.comm), task.tid.0)
            };
            let names: Vec<String> = cycle.iter().map(name).collect();
            let text =
                format!("deadlock: {} wait for each other's locks in a cycle", names.join(", "));
            self.note_stall(Timestamp(self.now), text);
        }
    }

    /// The cycle that the chain of owners from `start` runs into, unless it was told before.
    fn cycle_from(&self, start: usize, told: &mut [bool]) -> Option<Vec<usize>> {
        let mut path: Vec<usize> = Vec::new();
        let mut t = start;
        loop {
            if let Some(at) = path.iter().position(|&other| other == t) {
                let is_new = !path[at..].iter().any(|&other| told[other]);
                path[at..].iter().for_each(|&other| told[other] = true);
                return is_new.then(|| path.split_off(at));
            }
            path.push(t);
            let lock = self.lock_waited_for(t)?;
            t = self.locks[lock.index()].word.owner? as usize;
        }
    }

    pub(crate) fn lock_waited_for(&self, t: usize) -> Option<LockIndex> {
        match self.tasks[t].phase {
            Phase::Waiting(lock)
            | Phase::Spin(lock)
            | Phase::SpinQueued(lock)
            | Phase::Enqueue(lock)
            | Phase::Requeue(lock) => Some(lock),
            _ => None,
        }
    }
}
