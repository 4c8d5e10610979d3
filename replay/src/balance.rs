//! Moving queued tasks from busy CPUs to less busy ones.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::rule::pelt::nr_idle_scan;
use crate::state::{Class, T};
use crate::topology::Domain;
use std::cmp::Reverse;

/// Most tasks that one pass moves (kernel model 9.1).
const MOST_MOVED: u64 = 32;
/// Balancing of a busy CPU is this much rarer (kernel model 6.4).
const BUSY_FACTOR: u64 = 16;
/// A task that left its CPU less than this ago has its data in the cache there, and stays
/// (`sysctl_sched_migration_cost`).
const HOT_NS: u64 = 500_000;
const MS: u64 = 1_000_000;

/// When a CPU balances in one of its domains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    last: u64,
    interval: u64,
    /// Attempts in a row that moved nothing although there was something to move.
    failed: u32,
    newidle: Newidle,
}

/// How often a CPU that was about to go idle found something to take, of 1024 times.
#[derive(Clone, Copy, Debug)]
struct Newidle {
    ratio: u32,
    calls: u32,
    successes: u32,
}

impl Newidle {
    const CALLS: u32 = 1024;

    /// Counts an attempt that stands for `weight` of them.
    fn count(&mut self, successes: u32) {
        self.calls += 1;
        self.successes += successes;
        if self.calls >= Self::CALLS {
            self.ratio = self.successes.min(Self::CALLS);
            self.calls /= 2;
            self.successes /= 2;
        }
    }
}

impl Balance {
    pub(crate) fn new(start: u64, domain: &Domain) -> Self {
        let newidle = Newidle { ratio: Newidle::CALLS / 2, calls: 0, successes: 0 };
        Self { last: start, interval: domain.weight() * MS, failed: 0, newidle }
    }
}

/// What a balancing CPU has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is about to go idle.
    NewlyIdle,
    Idle,
    Busy,
}

/// The sum over a group of CPUs.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    cpus: i128,
    queued: i128,
    load: i128,
}

impl Sum {
    fn is_overloaded(self) -> bool {
        self.queued > self.cpus
    }

    fn average(self) -> i128 {
        self.load / self.cpus.max(1)
    }

    fn and(self, other: Self) -> Self {
        Self {
            cpus: self.cpus + other.cpus,
            queued: self.queued + other.queued,
            load: self.load + other.load,
        }
    }
}

/// How much to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Imbalance {
    Tasks(u64),
    Load(i128),
}

impl Engine<'_> {
    /// An idle CPU takes one task from a CPU with more than it can run (kernel model 6.5).
    ///
    /// # Deviation
    ///
    /// The kernel dices whether to try (`NI_RANDOM`) and weighs its own cost; this always tries.
    pub(crate) fn newidle_pull(&mut self, cpu: usize) -> bool {
        self.cpus.len() > 1
            && (self.pull_deadline(cpu)
                || self.pull_realtime(cpu)
                || (0..self.topology.of_cpu[cpu].len())
                    .any(|level| self.pull_newly_idle(cpu, level)))
    }

    /// Tries, or does not: the fewer such attempts brought anything, the rarer they are.
    ///
    /// # Source
    ///
    /// Kernel model 6.5 (`NI_RANDOM`); `sched_balance_newidle`, `update_newidle_stats`.
    fn pull_newly_idle(&mut self, cpu: usize, level: usize) -> bool {
        if !(0..self.cpus.len()).any(|c| self.cpus[c].n_running >= 2) {
            return false;
        }
        if let Some(known) = self.machine.newidle_of_cpu.get(cpu).copied().flatten() {
            return self.dice.below(1024) < u64::from(known)
                && self.pull(cpu, level, State::NewlyIdle);
        }
        let weight = 1 + self.cpus[cpu].balance[level].newidle.ratio;
        let tries = self.dice.below(1024) <= u64::from(weight);
        let moved = tries && self.pull(cpu, level, State::NewlyIdle);
        // One that was tried stands for those that were not.
        let stands_for = (1024 + weight / 2) / weight;
        self.cpus[cpu].balance[level].newidle.count(if moved { stands_for } else { 0 });
        moved
    }

    /// Periodic balancing at the tick of a busy CPU: its own, and that of CPUs which sleep through
    /// their ticks while it has more than it can run (6.5).
    ///
    /// # Deviation
    ///
    /// Running tasks are never pushed away (`active_balance`).
    pub(crate) fn balance_at_tick(&mut self, cpu: usize) {
        self.balance(cpu, State::Busy);
        if self.cpus[cpu].n_running < 2 {
            return;
        }
        for other in 0..self.cpus.len() {
            if self.cpus[other].running.is_none() && self.cpus[other].n_running == 0 {
                self.balance(other, State::Idle);
            }
        }
    }

    fn balance(&mut self, cpu: usize, state: State) {
        for level in 0..self.topology.of_cpu[cpu].len() {
            let weight = self.domain(cpu, level).weight();
            let tick = self.tick_ns().unsigned_abs();
            let Balance { last, interval, failed: had_failed, .. } = self.cpus[cpu].balance[level];
            let wait = match state {
                State::Busy => (interval * BUSY_FACTOR).saturating_sub(tick),
                State::Idle | State::NewlyIdle => interval,
            };
            if self.now < last + wait.clamp(tick, tick.max(weight * 100 * MS)) {
                continue;
            }
            let balances = self.balances_for_group(cpu, level);
            if balances {
                self.look_around(cpu, level);
            }
            let moved = balances && self.pull(cpu, level, state);
            let b = &mut self.cpus[cpu].balance[level];
            b.last = self.now;
            // Balanced, or nobody to take: wait longer. Moved, or failed: soon again.
            b.interval = if moved || b.failed > had_failed {
                weight * MS
            } else {
                (b.interval * 2).min(2 * weight * MS)
            };
        }
    }

    /// Brings the averages of a domain up to now, and says how long wakeups shall search there.
    fn look_around(&mut self, cpu: usize, level: usize) {
        let domain = self.domain(cpu, level);
        let is_cache = domain.is_cache && domain.weight() == self.topology.cache[cpu].len() as u64;
        let span: Vec<usize> = domain.groups.iter().flatten().copied().collect();
        for &c in &span {
            self.average(c);
        }
        if is_cache {
            let busy = |c: &usize| self.cpus[*c].utilization.value().unsigned_abs();
            let first = self.topology.cache[cpu][0];
            self.idle_scan[first] = nr_idle_scan(span.len() as u64, span.iter().map(busy).sum());
        }
    }

    fn domain(&self, cpu: usize, level: usize) -> &Domain {
        &self.topology.domains[self.topology.of_cpu[cpu][level]]
    }

    /// One CPU of a group balances for it: the first that is idle, else the first.
    fn balances_for_group(&self, cpu: usize, level: usize) -> bool {
        let own = self.domain(cpu, level).groups.iter().find(|g| g.contains(&cpu));
        own.is_some_and(|group| {
            let idle = group.iter().find(|&&c| self.cpus[c].running.is_none());
            idle.or(group.first()) == Some(&cpu)
        })
    }

    fn sum(&self, group: &[usize]) -> Sum {
        let of = |&c: &usize| Sum {
            cpus: 1,
            queued: i128::from(self.cpus[c].n_running),
            load: i128::from(self.cpus[c].load.value()),
        };
        group.iter().map(of).fold(Sum::default(), Sum::and)
    }

    /// Takes tasks from the busiest CPU of the busiest group: true when any came.
    ///
    /// # Source
    ///
    /// Kernel model 6.5 and 6.6; `sched_balance_rq`, `calculate_imbalance`.
    fn pull(&mut self, cpu: usize, level: usize, state: State) -> bool {
        let domain = self.domain(cpu, level);
        let Some(own) = domain.groups.iter().position(|g| g.contains(&cpu)) else { return false };
        let n = domain.groups.len();
        let others = (1..n).map(|step| &domain.groups[(own + step) % n]);
        let from_group = others
            .map(|group| (self.sum(group), group))
            // Of equals the first.
            .rev()
            .max_by_key(|(sum, _)| {
                let by_load = if sum.is_overloaded() { sum.average() } else { 0 };
                (sum.is_overloaded(), by_load, sum.queued)
            });
        let Some((busiest, group)) = from_group else { return false };
        let here = self.sum(&domain.groups[own]);
        let all = domain.groups.iter().map(|g| self.sum(g)).fold(Sum::default(), Sum::and);
        let amount = imbalance(domain, state, here, busiest, all);
        let takes = |t: T, from: usize| self.is_movable(t, from, cpu);
        let from = group
            .iter()
            .copied()
            .filter(|&c| self.cpus[c].n_running >= 2)
            .filter(|&c| self.cpus[c].fair.tree.values().any(|&t| takes(t, c)))
            .max_by_key(|&c| {
                let load =
                    if let Some(Imbalance::Load(_)) = amount { self.sum(&[c]).load } else { 0 };
                (load, self.cpus[c].n_running, Reverse(c))
            });
        let (Some(amount), Some(from)) = (amount, from) else { return false };
        let moved = self.detach(cpu, from, level, state, amount);
        if state != State::NewlyIdle {
            let b = &mut self.cpus[cpu].balance[level];
            b.failed = if moved { 0 } else { b.failed + 1 };
        }
        moved
    }

    /// A queued task's average weight.
    fn load_of(&self, t: T) -> i64 {
        let f = self.task(t).fair;
        let mut load = f.load;
        load.advance(self.now, f.weight >> 10);
        load.value().max(1)
    }

    fn detach(
        &mut self,
        cpu: usize,
        from: usize,
        level: usize,
        state: State,
        mut amount: Imbalance,
    ) -> bool {
        let failed = self.cpus[cpu].balance[level].failed;
        let (is_core, tries) =
            (self.domain(cpu, level).is_core, self.domain(cpu, level).nice_tries);
        // The least recently queued or run first.
        let mut queued: Vec<T> = self.cpus[from].fair.tree.values().copied().collect();
        queued.sort_by_key(|&t| self.task(t).fair.seq);
        let mut moved = 0;
        for t in queued {
            if moved == MOST_MOVED || self.cpus[from].n_running < 2 {
                break;
            }
            let is_hot = !is_core && self.now.saturating_sub(self.task(t).left_cpu) < HOT_NS;
            if !self.is_movable(t, from, cpu) || is_hot && failed <= tries {
                continue;
            }
            let weight = i128::from(self.load_of(t));
            amount = match amount {
                Imbalance::Tasks(0) => break,
                Imbalance::Tasks(n) => Imbalance::Tasks(n - 1),
                Imbalance::Load(load) if load <= 0 => break,
                Imbalance::Load(load) if weight >> failed.min(31) > load => continue,
                Imbalance::Load(load) => Imbalance::Load(load - weight),
            };
            self.account(from);
            self.dequeue_to_move(from, t);
            let why = if state == State::NewlyIdle { Rule::NewIdle } else { Rule::Balance };
            self.attach(t, from, cpu, why);
            moved += 1;
            if state == State::NewlyIdle {
                break;
            }
        }
        moved > 0
    }

    /// Kernel model 6.6: parked donors, running tasks and donors stay where they are.
    fn is_movable(&self, t: T, from: usize, to: usize) -> bool {
        let task = self.task(t);
        let donor = self.cpus[from].donor == Some(t);
        !task.delayed && task.blocked_on.is_none() && !task.on_cpu && !donor && self.allowed(t, to)
    }

    fn attach(&mut self, t: T, from: usize, to: usize, why: Rule) {
        self.rule = why;
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
        self.attach(t, from, cpu, Rule::PushPull);
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
        self.attach(t, from, cpu, Rule::PushPull);
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
            self.attach(t, cpu, target, Rule::PushPull);
        }
    }
}

/// How much a group should take from the busiest one, if anything.
///
/// # Source
///
/// Kernel model 6.6; `sched_balance_find_src_group`, `calculate_imbalance`.
fn imbalance(
    domain: &Domain,
    state: State,
    here: Sum,
    busiest: Sum,
    all: Sum,
) -> Option<Imbalance> {
    if busiest.queued < 2 {
        return None;
    }
    if state == State::NewlyIdle {
        return Some(Imbalance::Tasks(1));
    }
    if !busiest.is_overloaded() || state == State::Idle && domain.is_cache {
        // Even out the numbers, as far as whole tasks go.
        let more = busiest.queued * here.cpus - here.queued * busiest.cpus;
        let half = more / (here.cpus + busiest.cpus).max(1);
        let alone = here.queued == 0 && state == State::Idle;
        return u64::try_from(half.max(i128::from(alone)))
            .ok()
            .filter(|n| *n > 0)
            .map(Imbalance::Tasks);
    }
    let (here, busiest, all) = (here, busiest, all.average());
    let beyond = busiest.average() * 100 > here.average() * domain.imbalance_pct;
    if here.average() >= busiest.average()
        || here.average() >= all
        || here.is_overloaded() && !beyond
    {
        return None;
    }
    let load = (busiest.average() - all).min(all - here.average()) * here.cpus;
    (load > 0).then_some(Imbalance::Load(load))
}
