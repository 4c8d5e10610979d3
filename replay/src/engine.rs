//! The event loop: advance to the next instant, let everything that can happen there happen.
//!
//! Within one instant (kernel model 9.3): timers expire, running tasks take
//! their zero-length steps, then CPUs that must reschedule do; the last two
//! repeat until nothing changes.

use crate::Checks;
use crate::costs::Costs;
use crate::decision::Rule;
use crate::dice::Dice;
use crate::emit::Output;
use crate::feed::{Ends, Window};
use crate::group::Group;
use crate::mechanism::Mechanisms;
use crate::program::MOST_STEPS;
use crate::rule::pelt::Average;
use crate::state::{Class, Discipline, Lock, OnRq, Phase, Rq, T, Task, Timer, TimerKind};
use crate::topology::Topology;
use model::demand::{Arrival, LockIndex, Machine, Preemption, TaskDemand};
use model::{Demand, LockFlags, Op};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No event.
pub(crate) const NEVER: u64 = u64::MAX;

pub(crate) struct Engine<'d> {
    pub demand: &'d Demand,
    pub machine: &'d Machine,
    pub topology: Topology,
    pub mechanisms: Mechanisms,
    pub costs: Costs,
    pub now: u64,
    pub tasks: Vec<Task>,
    pub cpus: Vec<Rq>,
    pub locks: Vec<Lock>,
    pub buffers: Vec<crate::buffer::Buffer>,
    pub groups: Vec<Group>,
    pub timers: BinaryHeap<Reverse<Timer>>,
    pub timer_seq: u64,
    pub entity_seq: u64,
    /// Locks whose word or owner's CPU changed: their spinners look again.
    pub stirred: Vec<usize>,
    /// Tasks now spinning, for when any owner leaves its CPU.
    pub n_spinning: u32,
    pub cpu_next: Vec<u64>,
    pub out: Output,
    /// The rule that the next event follows from.
    pub rule: Rule,
    /// How the last wakeup was placed.
    pub placed: Rule,
    /// The pick that is going on has taken a task from another CPU.
    pub pulled: bool,
    pub ends: Ends<'d>,
    pub checks: Checks,
    pub dice: Dice,
    /// Whether costs are diced around what they are.
    pub costs_vary: bool,
    /// How many CPUs a wakeup looks at, by the first CPU of each cache.
    pub idle_scan: Vec<u64>,
}

impl<'d> Engine<'d> {
    pub(crate) fn new(
        demand: &'d Demand,
        ends: Ends<'d>,
        mechanisms: Mechanisms,
        costs: Costs,
    ) -> Self {
        let n_cpus = demand.machine.cpus.len();
        let start = demand.start.0;
        let topology = Topology::of(&demand.machine);
        let balance = |cpu: usize| {
            let domains = topology.of_cpu[cpu].iter().map(|&d| &topology.domains[d]);
            domains.map(|d| crate::balance::Balance::new(start, d)).collect()
        };
        let cpus = (0..n_cpus).map(|cpu| Rq::new(start, balance(cpu))).collect();
        let locks = demand.locks.iter().map(|lock| new_lock(lock.flags, mechanisms)).collect();
        let tasks = demand.tasks.iter().map(|t| new_task(t, demand)).collect();
        let mut engine = Self {
            demand,
            machine: &demand.machine,
            topology,
            mechanisms,
            costs,
            now: start,
            tasks,
            cpus,
            locks,
            buffers: demand.buffers.iter().map(crate::buffer::Buffer::new).collect(),
            groups: demand.groups.iter().map(|g| Group::of(g, n_cpus)).collect(),
            timers: BinaryHeap::new(),
            timer_seq: 0,
            entity_seq: 0,
            stirred: Vec::new(),
            n_spinning: 0,
            cpu_next: vec![NEVER; n_cpus],
            out: Output::default(),
            rule: Rule::Follows,
            placed: Rule::Follows,
            pulled: false,
            ends,
            checks: Checks::Steps,
            dice: Dice::new(0),
            costs_vary: false,
            idle_scan: vec![u64::MAX; n_cpus],
        };
        engine.admit();
        engine
    }

    /// Gives held locks to their owners and arms arrivals and first sleeps.
    fn admit(&mut self) {
        for (index, task) in self.demand.tasks.iter().enumerate() {
            let t = T::try_from(index).expect("fewer than 2^32 tasks");
            for lock in &task.holds {
                let word = &mut self.locks[lock.index()].word;
                if word.owner.is_none() {
                    word.owner = Some(t);
                    self.tasks[index].owns.push(*lock);
                }
            }
            match task.arrival {
                Arrival::At(at, _) => self.arm(at.0, TimerKind::Arrive(t)),
                Arrival::Asleep(_) => {
                    self.read_ahead(t);
                    self.begin_asleep(t);
                }
                Arrival::Forked => {}
            }
        }
    }

    /// Runs to the end of the recorded span, or until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        let end = self.demand.end.0;
        loop {
            let timer = self.timers.peek().map_or(NEVER, |t| t.0.at);
            let next = self.cpu_next.iter().copied().fold(timer, u64::min);
            if next > end {
                break;
            }
            assert!(next >= self.now, "time only moves forward: {next} after {}", self.now);
            self.now = next;
            self.expire();
            self.settle();
            if self.checks == Checks::All {
                self.check_invariants();
            }
        }
        self.now = end;
        for cpu in 0..self.cpus.len() {
            self.account(cpu);
        }
    }

    fn expire(&mut self) {
        while let Some(Reverse(timer)) = self.timers.peek().copied() {
            if timer.at > self.now {
                break;
            }
            self.timers.pop();
            match timer.kind {
                TimerKind::Arrive(t) => self.arrive(t),
                TimerKind::Wake(t, generation) => self.timer_wake(t, generation),
                TimerKind::Replenish(t) => self.dl_replenish(t),
                TimerKind::Server(cpu) => self.server_timer(cpu as usize),
            }
        }
        for cpu in 0..self.cpus.len() {
            if self.cpu_next[cpu] > self.now {
                continue;
            }
            self.cpus[cpu].dirty = true;
            if self.cpus[cpu].hrtick_at <= self.now {
                // The handler only asks; the request is found consumed when schedule() charges.
                self.cpus[cpu].hrtick_at = NEVER;
                let donor = self.cpus[cpu].donor;
                if donor.is_some_and(|d| self.task(d).class == Class::Fair) {
                    self.resched(cpu, self.costs.slice_end, Rule::SliceEnds);
                }
            }
            if self.cpus[cpu].next_tick <= self.now {
                self.tick(cpu);
            }
            if self.dl_budget_end(cpu).min(self.server_end(cpu)) <= self.now {
                self.account(cpu);
            }
        }
    }

    fn tick(&mut self, cpu: usize) {
        self.cpus[cpu].next_tick = self.next_tick_after(self.now);
        if self.cpus[cpu].deferred && self.machine.preemption == Preemption::Lazy {
            self.cpus[cpu].deferred = false;
            self.resched(cpu, self.costs.slice_end, Rule::LazyTick);
        }
        self.account(cpu);
        if let Some(d) = self.cpus[cpu].donor.filter(|&d| self.task(d).class == Class::Fair) {
            self.reweigh_in_group(cpu, d);
        }
        self.rr_tick(cpu);
        self.balance_at_tick(cpu);
    }

    fn settle(&mut self) {
        // Each round runs at least one op or one schedule(); both are finite in one instant.
        let most = 10_000_000 + 4 * u64::from(MOST_STEPS) * self.tasks.len() as u64;
        let mut rounds = 0u64;
        loop {
            let mut changed = false;
            for cpu in 0..self.cpus.len() {
                if self.cpus[cpu].dirty {
                    changed |= self.step(cpu);
                }
            }
            changed |= self.settle_spinners();
            for cpu in 0..self.cpus.len() {
                let rq = &self.cpus[cpu];
                if rq.dirty && rq.need_resched && rq.resched_at <= self.now {
                    self.preempt(cpu);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
            rounds += 1;
            assert!(rounds < most, "no progress at {} ns", self.now);
        }
        for cpu in 0..self.cpus.len() {
            if self.cpus[cpu].dirty {
                self.cpus[cpu].dirty = false;
                self.cpu_next[cpu] = self.next_event(cpu);
            }
        }
    }

    fn next_event(&self, cpu: usize) -> u64 {
        let rq = &self.cpus[cpu];
        let mut next = if rq.need_resched { rq.resched_at } else { NEVER };
        let Some(running) = rq.running else { return next };
        next = next.min(rq.hrtick_at).min(rq.next_tick);
        let task = self.task(running);
        let releasing = matches!(task.phase, Phase::Releasing(..));
        let computing =
            task.phase == Phase::Program && matches!(self.op(running), Some(Op::Compute(_)));
        if (releasing || computing) && rq.stalled_from.is_none() {
            next = next.min(rq.ran_to.max(rq.busy_until).saturating_add(task.left));
        }
        if let Some(date) = task.busy_to.filter(|_| rq.stalled_from.is_none()) {
            next = next.min(date.max(rq.busy_until).max(self.now));
        }
        if rq.busy_until > self.now {
            next = next.min(rq.busy_until);
        }
        next.min(self.dl_budget_end(cpu)).min(self.server_end(cpu))
    }

    /// Brings the running program up to now; no class hears of it.
    pub(crate) fn run_program(&mut self, cpu: usize) {
        let rq = &mut self.cpus[cpu];
        let delta = self.now - rq.ran_to;
        // From a request to the switch the kernel works; the program stands still.
        // So it does after one, for the task that has come.
        let program =
            rq.stalled_from.unwrap_or(self.now).saturating_sub(rq.ran_to.max(rq.busy_until));
        rq.ran_to = self.now;
        if let Some(running) = rq.running {
            let task = &mut self.tasks[running as usize];
            task.executed += delta;
            if matches!(task.phase, Phase::Program | Phase::Releasing(..)) {
                task.left = task.left.saturating_sub(program);
            }
        }
    }

    /// Charges the time since the last charge to the donor's entitlement.
    ///
    /// The kernel does so at certain points only, and what it finds there may ask for a
    /// reschedule: call it where the kernel calls `update_curr`.
    ///
    /// # Source
    ///
    /// Kernel model 1.3 and 5.6; `update_curr`, `update_se`.
    pub(crate) fn account(&mut self, cpu: usize) {
        self.run_program(cpu);
        self.average(cpu);
        let rq = &mut self.cpus[cpu];
        let delta = self.now - rq.charged_to;
        rq.charged_to = self.now;
        let Some(donor) = rq.donor.filter(|_| delta > 0 && rq.running.is_some()) else { return };
        self.tasks[donor as usize].charged += delta;
        match self.task(donor).class {
            Class::Fair => {
                self.fair_charge(cpu, donor, delta);
                self.server_charge(cpu, delta);
            }
            Class::Deadline => self.dl_charge(cpu, donor, delta),
            Class::Stop | Class::Realtime | Class::Idle => {}
        }
    }

    /// Brings the averages of a CPU up to now.
    pub(crate) fn average(&mut self, cpu: usize) {
        let weight = self.fair_load(cpu).weight >> 10;
        let donor = self.cpus[cpu].donor.filter(|&d| self.task(d).class == Class::Fair);
        let rq = &mut self.cpus[cpu];
        rq.load.advance(self.now, weight);
        rq.utilization.advance(self.now, if donor.is_some() { 1024 } else { 0 });
    }

    pub(crate) fn task(&self, t: T) -> &Task {
        &self.tasks[t as usize]
    }

    pub(crate) fn op(&self, t: T) -> Option<Op> {
        let task = self.task(t);
        task.window.op(task.pc)
    }

    pub(crate) fn arm(&mut self, at: u64, kind: TimerKind) {
        self.timer_seq += 1;
        self.timers.push(Reverse(Timer { at, seq: self.timer_seq, kind }));
    }

    pub(crate) fn tick_ns(&self) -> i64 {
        i64::from(1_000_000_000 / self.machine.hz.max(1))
    }

    pub(crate) fn next_tick_after(&self, at: u64) -> u64 {
        let period = u64::from(1_000_000_000 / self.machine.hz.max(1)).max(1);
        let phase = self.machine.tick_phase.0 % period;
        let since = at.saturating_sub(phase) / period;
        (since + 1) * period + phase
    }

    /// Asks a CPU to reschedule `delay` ns from now, or sooner if it was asked before.
    pub(crate) fn resched(&mut self, cpu: usize, delay: u64, why: Rule) {
        if matches!(self.machine.preemption, Preemption::None | Preemption::Voluntary)
            && self.in_kernel(cpu)
        {
            self.cpus[cpu].deferred = true;
            self.cpus[cpu].dirty = true;
            return;
        }
        let delay = self.varied(delay);
        let at = self.now + delay;
        self.run_program(cpu);
        let rq = &mut self.cpus[cpu];
        if delay > 0 && rq.stalled_from.is_none() && !rq.need_resched {
            rq.stalled_from = Some(self.now);
        }
        if !rq.need_resched || at < rq.resched_at {
            (rq.resched_at, rq.cause) = (at, why);
        }
        rq.need_resched = true;
        rq.dirty = true;
    }

    fn varied(&mut self, cost: u64) -> u64 {
        if self.costs_vary && cost > 0 { cost / 2 + self.dice.below(cost + 1) } else { cost }
    }

    /// A request of the fair class: under lazy preemption it waits for user mode or a tick.
    pub(crate) fn resched_fair(&mut self, cpu: usize, delay: u64, why: Rule) {
        if self.machine.preemption == Preemption::Lazy && self.in_kernel(cpu) {
            self.cpus[cpu].deferred = true;
        } else {
            self.resched(cpu, delay, why);
        }
    }

    /// Whether the running task is known to be in the kernel.
    ///
    /// # Deviation
    ///
    /// Known is it only inside critical sections of kernel locks; all else counts as user mode. A
    /// section in which the recording shows preemption has preemption points, and is taken to
    /// have one everywhere.
    fn in_kernel(&self, cpu: usize) -> bool {
        self.cpus[cpu].running.is_some_and(|t| {
            let task = self.task(t);
            // Under lazy preemption a holder is preempted at a tick, wherever it is.
            let is_lazy = self.machine.preemption == Preemption::Lazy;
            let stays = |lock: &LockIndex| {
                is_lazy
                    || !self.demand.locks.get(lock.index()).is_some_and(|l| l.has_preemption_points)
            };
            let in_program = matches!(task.phase, Phase::Program | Phase::Releasing(..));
            in_program && task.owns.iter().any(stays)
        })
    }

    /// The running task has left its last critical section.
    pub(crate) fn leave_kernel(&mut self, cpu: usize) {
        if self.cpus[cpu].deferred && !self.in_kernel(cpu) {
            self.cpus[cpu].deferred = false;
            self.resched(cpu, 0, Rule::KernelLeft);
        }
    }
}

impl Rq {
    fn new(start: u64, balance: Vec<crate::balance::Balance>) -> Self {
        Self {
            running: None,
            donor: None,
            need_resched: false,
            cause: Rule::Follows,
            deferred: false,
            resched_at: NEVER,
            next_class: Class::Idle,
            n_running: 0,
            fair: crate::state::FairQueue { average: -(1 << 20), ..Default::default() },
            stop: std::collections::VecDeque::new(),
            rt: std::collections::BTreeMap::new(),
            dl: std::collections::BTreeSet::new(),
            server: crate::state::FairServer::default(),
            load: Average::of(0, start),
            utilization: Average::of(0, start),
            serves: false,
            idle_from: start,
            charged_to: start,
            ran_to: start,
            stalled_from: None,
            busy_until: 0,
            pick_work: 0,
            hrtick_at: NEVER,
            next_tick: NEVER,
            balance,
            dirty: false,
            shown: (None, None),
        }
    }
}

/// A fair task's own slice and saved lag, when the demand knows them.
fn fair_entity(task: &TaskDemand) -> crate::state::FairEntity {
    let own = i64::try_from(task.sched.runtime.0).unwrap_or(i64::MAX);
    let custom_slice = own != 0 && Task::class_of(task.sched.policy) == Class::Fair;
    crate::state::FairEntity {
        custom_slice,
        slice: if custom_slice { own.clamp(100_000, 100_000_000) } else { 0 },
        lag: task.initial_fair.map_or(0, |f| f.lag_ns),
        ..Default::default()
    }
}

/// What waiters of a lock do under these mechanisms.
fn new_lock(flags: LockFlags, mechanisms: Mechanisms) -> Lock {
    let covered = mechanisms.cover.rwsem && flags.has(LockFlags::WRITE)
        || mechanisms.cover.pi_futex && flags.has(LockFlags::RT);
    let discipline = if flags.has(LockFlags::USER) {
        Discipline::Futex
    } else if covered {
        Discipline::Mutex
    } else if flags.has(LockFlags::RT) {
        Discipline::Inherits
    } else if !flags.has(LockFlags::MUTEX) {
        Discipline::Sleeps
    } else if mechanisms.inheritance {
        Discipline::Inherits
    } else {
        Discipline::Mutex
    };
    Lock { discipline, ..Lock::default() }
}

fn new_task(task: &TaskDemand, demand: &Demand) -> Task {
    let position = |cpu| demand.machine.cpus.iter().position(|c| *c == cpu).unwrap_or(0);
    let cpu = match task.arrival {
        Arrival::At(_, cpu) | Arrival::Asleep(cpu) => position(cpu),
        Arrival::Forked => 0,
    };
    Task {
        tid: task.info.tid,
        comm: task.info.comm,
        pc: 0,
        window: Window::default(),
        seam: task.rounds.as_ref().and_then(|r| r.seams.first()).copied().unwrap_or(usize::MAX),
        repeated: 0,
        passed_at: 0,
        stepped_at: 0,
        steps: 0,
        left: 0,
        busy_to: None,
        phase: Phase::Program,
        asleep: Some(model::PrevState::Interruptible),
        on_rq: OnRq::No,
        on_cpu: false,
        delayed: false,
        is_blocked: false,
        blocked_on: None,
        blocked_donor: None,
        returning: false,
        parked_on: None,
        parked: Vec::new(),
        waits_for: None,
        owns: Vec::new(),
        waits_since: 0,
        signalled: false,
        interruptible: false,
        cpu,
        wake_cpu: cpu,
        affinity: crate::affine::at_arrival(task, &demand.machine),
        class: Task::class_of(task.sched.policy),
        sched: task.sched,
        prio: task.sched.kernel_prio(),
        rr_left: 0,
        fair: fair_entity(task),
        dl: crate::state::DeadlineEntity::default(),
        call: crate::buffer::Call::default(),
        notice: None,
        wakes_early: 0,
        awaits_wake: false,
        sleep_generation: 0,
        recent_cpu: cpu,
        ran_on: None,
        left_cpu: 0,
        last_wakee: None,
        wakee_flips: 0,
        flips_since: 0,
        skipped: Vec::new(),
        executed: 0,
        charged: 0,
    }
}
