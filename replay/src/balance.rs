//! Moving queued tasks from busy CPUs to less busy ones.

use crate::engine::Engine;
use crate::state::{Class, T};
use std::cmp::Reverse;

/// Most tasks that one pass moves (kernel model 9.1).
const MOST_MOVED: u32 = 32;
/// Balancing of a busy CPU is this much rarer (kernel model 6.4).
const BUSY_FACTOR: u64 = 16;

impl Engine<'_> {
    /// An idle CPU takes one task from the CPU with the most waiting (kernel model 6.5).
    ///
    /// # Deviation
    ///
    /// The kernel dices whether to try (`NI_RANDOM`) and weighs its own cost; this always tries.
    pub(crate) fn newidle_pull(&mut self, cpu: usize) -> bool {
        self.cpus.len() > 1
            && (self.pull_deadline(cpu) || self.pull_realtime(cpu) || self.pull(cpu, 2, 1) > 0)
    }

    /// Periodic balancing of a busy CPU, at a tick: evens out the numbers of fair tasks (6.5, 6.6).
    ///
    /// # Deviation
    ///
    /// One domain over all CPUs, and numbers of tasks instead of measured load.
    pub(crate) fn balance_at_tick(&mut self, cpu: usize) {
        let n = self.cpus.len() as u64;
        if n == 1 || self.now < self.cpus[cpu].next_balance {
            return;
        }
        self.cpus[cpu].next_balance = self.now + n * BUSY_FACTOR * 1_000_000;
        let own = self.cpus[cpu].fair.n_queued;
        let most = (0..self.cpus.len()).map(|c| self.cpus[c].fair.n_queued).max().unwrap_or(0);
        let moves = most.saturating_sub(own) / 2;
        if moves > 0 && self.pull(cpu, own + 2, moves) > 0 {
            self.cpus[cpu].next_balance = self.now + n * 1_000_000;
        }
    }

    /// Takes up to `most` fair tasks from the busiest CPU with at least `floor` tasks queued.
    fn pull(&mut self, cpu: usize, floor: u32, most: u32) -> u32 {
        let busiest = (0..self.cpus.len())
            .filter(|&c| c != cpu && self.cpus[c].n_running >= floor)
            .max_by_key(|&c| (self.cpus[c].fair.n_queued, Reverse(c)));
        let Some(from) = busiest else { return 0 };
        let mut moved = 0;
        while moved < most.min(MOST_MOVED) {
            let mut queued = self.cpus[from].fair.tree.values().rev().copied();
            let Some(t) = queued.find(|&t| self.is_movable(t, from, cpu)) else { break };
            self.account(from);
            self.dequeue_to_move(from, t);
            self.attach(t, from, cpu);
            moved += 1;
        }
        moved
    }

    /// Kernel model 6.6: parked donors, running tasks and donors stay where they are.
    fn is_movable(&self, t: T, from: usize, to: usize) -> bool {
        let task = self.task(t);
        let donor = self.cpus[from].donor == Some(t);
        !task.delayed && task.blocked_on.is_none() && !task.on_cpu && !donor && self.allowed(t, to)
    }

    fn attach(&mut self, t: T, from: usize, to: usize) {
        self.emit_migrate(to, t, from, to);
        let task = &mut self.tasks[t as usize];
        task.cpu = to;
        task.wake_cpu = to;
        self.enqueue(to, t);
        self.wakeup_preempt(to, t, crate::fair::Join::Again);
    }

    /// A CPU that runs out of realtime work takes the most urgent task that waits elsewhere (6.1).
    pub(crate) fn pull_realtime(&mut self, cpu: usize) -> bool {
        let here = self.cpus[cpu].rt.keys().next().copied().unwrap_or(100);
        let mut best: Option<(i32, usize, T)> = None;
        for from in (0..self.cpus.len()).filter(|&c| c != cpu) {
            let mut waiting = self.cpus[from].rt.values().flatten().copied();
            // One that is more urgent than what runs there is about to run there.
            let running = self.cpus[from].donor.map_or(140, |d| self.task(d).prio);
            if let Some(t) = waiting.find(|&t| self.is_movable(t, from, cpu)) {
                let prio = self.task(t).prio;
                if prio >= running && prio < here && best.is_none_or(|(p, ..)| prio < p) {
                    best = Some((prio, from, t));
                }
            }
        }
        let Some((_, from, t)) = best else { return false };
        self.dequeue_to_move(from, t);
        self.attach(t, from, cpu);
        true
    }

    /// As [`Self::pull_realtime`], for the earliest deadline that waits elsewhere (6.2).
    pub(crate) fn pull_deadline(&mut self, cpu: usize) -> bool {
        let here = self.cpus[cpu].dl.first().map_or(i64::MAX, |(d, _)| *d);
        let mut best: Option<(i64, usize, T)> = None;
        for from in (0..self.cpus.len()).filter(|&c| c != cpu) {
            let mut waiting = self.cpus[from].dl.iter().copied();
            let Some((deadline, t)) = waiting.find(|&(_, t)| self.is_movable(t, from, cpu)) else {
                continue;
            };
            // One that is earlier than what runs there is about to run there.
            let running = self.cpus[from].donor.map_or(i64::MAX, |d| {
                let donor = self.task(d);
                if donor.class == Class::Deadline { donor.dl.deadline } else { i64::MAX }
            });
            let waits = deadline >= running && deadline < here;
            if waits && best.is_none_or(|(d, ..)| deadline < d) {
                best = Some((deadline, from, t));
            }
        }
        let Some((_, from, t)) = best else { return false };
        self.dequeue_to_move(from, t);
        self.attach(t, from, cpu);
        true
    }

    /// The balance hook of a pick: a CPU whose urgent donor has gone looks for others' (2.2).
    pub(crate) fn balance_before_pick(&mut self, cpu: usize, old: Option<T>) {
        let Some(old) = old.filter(|_| self.cpus.len() > 1) else { return };
        let rq = &self.cpus[cpu];
        match self.task(old).class {
            Class::Deadline if rq.dl.first().is_none_or(|(_, t)| *t != old) => {
                self.pull_deadline(cpu);
                self.pull_realtime(cpu);
            }
            Class::Realtime
                if rq.rt.keys().next().is_none_or(|prio| *prio > self.task(old).prio) =>
            {
                self.pull_realtime(cpu);
            }
            _ => {}
        }
    }

    /// A woken realtime task that does not run here goes where less urgent work runs (6.1, push).
    pub(crate) fn push_realtime(&mut self, cpu: usize, t: T) {
        let task = self.task(t);
        let waits = task.class == Class::Realtime
            && task.is_queued()
            && !self.cpus[cpu].need_resched
            && self.is_movable(t, cpu, cpu);
        if !waits || self.cpus.len() == 1 {
            return;
        }
        let prio = task.prio;
        let urgency = |c: usize| self.cpus[c].donor.map_or(140, |d| self.task(d).prio);
        let target = (0..self.cpus.len())
            .filter(|&c| c != cpu && self.allowed(t, c))
            .max_by_key(|&c| (urgency(c), Reverse(c)));
        if let Some(target) = target.filter(|&c| urgency(c) > prio) {
            self.dequeue_to_move(cpu, t);
            self.attach(t, cpu, target);
        }
    }
}
