//! `schedule()`: block, pick a scheduling context, walk to an execution context, switch.

use crate::decision::{Decision, Rule};
use crate::engine::{Engine, NEVER};
use crate::fair::{Join, Leave, Protection};
use crate::rule::walk::{Link, Owner, Step, step};
use crate::state::{Class, OnRq, Phase, T};
use model::{Context, PrevState, SchedEvent};

/// Why `schedule()` was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The task asked: it may block.
    Voluntary,
    /// It was preempted.
    Preempt,
}

/// What a walk along a donation chain came to.
enum Walk {
    Run(T),
    Idle,
    Again,
}

impl Engine<'_> {
    /// Honours a due reschedule request.
    pub(crate) fn preempt(&mut self, cpu: usize) {
        self.schedule(cpu, Entry::Preempt);
    }

    /// Kernel model 2.1.
    pub(crate) fn schedule(&mut self, cpu: usize, entry: Entry) {
        self.account(cpu);
        let prev = self.cpus[cpu].running;
        let mut prev_state = PrevState::Runnable;
        let mut cause = std::mem::take(&mut self.cpus[cpu].cause);
        if let (Entry::Voluntary, Some(p)) = (entry, prev)
            && let Some(state) = self.task(p).asleep
        {
            prev_state = state;
            cause = match self.task(p).phase {
                Phase::Waiting(_) => Rule::LockSleeps,
                Phase::Done => Rule::ProgramOver,
                Phase::Program if self.task(p).call.is_behind_wait() => Rule::BufferSleeps,
                _ => Rule::ProgramSleeps,
            };
            self.try_to_block(cpu, p);
        }
        self.pulled = false;
        let (next, detour) = self.pick_next(cpu, prev);
        if next.is_none() {
            self.cpus[cpu].hrtick_at = NEVER;
        }
        self.cpus[cpu].need_resched = false;
        self.cpus[cpu].deferred = false;
        self.cpus[cpu].stalled_from = None;
        self.cpus[cpu].dirty = true;
        let mut work = std::mem::take(&mut self.cpus[cpu].pick_work);
        if prev_state == PrevState::Uninterruptible && cause == Rule::LockSleeps {
            work += self.costs.lock_sleep;
        }
        if prev != next {
            work += next.map_or(0, |t| self.arrival_cost(cpu, t));
            let choice = if detour { Rule::IdleDetour } else { self.choice(cpu, next) };
            self.switch(cpu, prev, prev_state, next, Decision { cause, choice });
        }
        if work > 0 {
            self.cpus[cpu].busy_until = self.now + work;
        }
        self.emit_donor(cpu);
        if detour {
            self.out.idle_detours += 1;
            self.resched(cpu, self.costs.idle_detour, Rule::IdleDetour);
        }
    }

    /// The rule by which `next` comes to its CPU.
    fn choice(&self, cpu: usize, next: Option<T>) -> Rule {
        match next {
            None => Rule::PickIdle,
            _ if self.pulled => Rule::NewIdle,
            Some(_) if self.cpus[cpu].donor != next => Rule::PickOwner,
            Some(t) => match self.task(t).class {
                Class::Stop => Rule::PickStop,
                Class::Deadline => Rule::PickDeadline,
                Class::Realtime => Rule::PickRealtime,
                Class::Fair | Class::Idle => Rule::PickFair,
            },
        }
    }

    fn pick_next(&mut self, cpu: usize, prev: Option<T>) -> (Option<T>, bool) {
        self.balance_before_pick(cpu, self.cpus[cpu].donor);
        // Every pass deactivates, migrates or decides; each task can be moved once per pass.
        for _ in 0..=2 * self.tasks.len() + 2 {
            let old = self.cpus[cpu].donor;
            let picked = self.class_pick(cpu);
            self.change_donor(cpu, old, picked);
            let Some(p) = picked else {
                if self.newidle_pull(cpu) {
                    self.pulled = true;
                    continue;
                }
                return (None, false);
            };
            if !self.mechanisms.proxy_execution {
                return (Some(p), false);
            }
            self.tasks[p as usize].blocked_donor = None;
            if !self.is_no_runner(p) {
                return (Some(p), false);
            }
            match self.walk(cpu, p) {
                Walk::Again => {}
                Walk::Idle => return (None, true),
                Walk::Run(r) => {
                    if old == Some(p) && prev != Some(r) {
                        self.put_donor(cpu, p);
                        self.set_donor(cpu, p);
                    }
                    return (Some(r), false);
                }
            }
        }
        self.note("a pick did not settle; the CPU idles".to_owned());
        (None, false)
    }

    /// Kernel model 2.2.
    fn class_pick(&mut self, cpu: usize) -> Option<T> {
        if let Some(&t) = self.cpus[cpu].stop.front() {
            self.cpus[cpu].serves = false;
            return Some(t);
        }
        let first = self.cpus[cpu].dl.first().copied();
        self.cpus[cpu].serves = self.server_goes_before(cpu, first.map(|(deadline, _)| deadline));
        if self.cpus[cpu].serves
            && let Some(t) = self.fair_pick_runnable(cpu)
        {
            return Some(t);
        }
        self.cpus[cpu].serves = false;
        if let Some((_, t)) = first {
            return Some(t);
        }
        if let Some(list) = self.cpus[cpu].rt.values().next() {
            return list.front().copied();
        }
        self.fair_pick_runnable(cpu)
    }

    /// The fair pick; delayed sleepers that win are dequeued on the way.
    fn fair_pick_runnable(&mut self, cpu: usize) -> Option<T> {
        loop {
            let t = self.fair_pick(cpu, Protection::Respect)?;
            if !self.task(t).delayed {
                return Some(t);
            }
            self.fair_finish_delayed(cpu, t);
            self.tasks[t as usize].on_rq = OnRq::No;
            self.cpus[cpu].n_running -= 1;
        }
    }

    fn change_donor(&mut self, cpu: usize, old: Option<T>, new: Option<T>) {
        if old != new {
            if let Some(old) = old {
                self.put_donor(cpu, old);
            }
            self.cpus[cpu].donor = new;
            if let Some(new) = new {
                self.set_donor(cpu, new);
            }
        }
        let class = new.map_or(Class::Idle, |t| self.task(t).class);
        self.cpus[cpu].next_class = if self.cpus[cpu].serves { Class::Deadline } else { class };
    }

    pub(crate) fn put_donor(&mut self, cpu: usize, t: T) {
        self.fair_put_current(cpu, t);
    }

    pub(crate) fn set_donor(&mut self, cpu: usize, t: T) {
        if self.task(t).class == Class::Fair {
            self.fair_set_current(cpu, t);
        }
    }

    /// Takes the scheduling context off this CPU: the donor is the idle task now.
    pub(crate) fn drop_donor(&mut self, cpu: usize) {
        if let Some(d) = self.cpus[cpu].donor.take() {
            self.put_donor(cpu, d);
        }
        self.cpus[cpu].next_class = Class::Idle;
    }

    fn try_to_block(&mut self, cpu: usize, p: T) {
        self.tasks[p as usize].is_blocked = true;
        if self.mechanisms.proxy_execution && self.task(p).blocked_on.is_some() {
            return;
        }
        let done = self.task(p).phase == Phase::Done;
        self.block(cpu, p, if done { Leave::AtOnce } else { Leave::MayDelay });
    }

    /// Takes a sleeping task off its queue; a fair one may stay as a delayed sleeper.
    pub(crate) fn block(&mut self, cpu: usize, p: T, leave: Leave) {
        let left = match self.task(p).class {
            Class::Fair => self.fair_dequeue_sleep(cpu, p, leave),
            Class::Realtime => self.rt_dequeue(cpu, p),
            Class::Deadline => self.dl_dequeue(cpu, p),
            Class::Stop => self.stop_dequeue(cpu, p),
            Class::Idle => true,
        };
        if left {
            self.tasks[p as usize].on_rq = OnRq::No;
            self.cpus[cpu].n_running -= 1;
        }
    }

    /// What it costs a task to come to this CPU from the one it ran on last.
    fn arrival_cost(&self, cpu: usize, t: T) -> u64 {
        let c = &self.costs;
        let node = |cpu: usize| self.machine.node_of_cpu.get(cpu);
        let moved = match self.task(t).ran_on.filter(|&from| from != cpu) {
            None => 0,
            Some(from) if node(from) != node(cpu) => c.node_migration,
            Some(from) if !self.shares_cache(from, cpu) => c.far_migration,
            Some(_) => c.migration,
        };
        let takes_lock = matches!(self.task(t).phase, Phase::Waiting(_));
        let in_call = self.task(t).call.is_behind_wait();
        let lock = if takes_lock { c.lock_wake } else { 0 };
        c.switch + moved + lock + if in_call { c.buffer_wake } else { 0 }
    }

    fn switch(
        &mut self,
        cpu: usize,
        prev: Option<T>,
        state: PrevState,
        next: Option<T>,
        decision: Decision,
    ) {
        self.emit_switch(cpu, prev, state, next, decision);
        if let Some(p) = prev {
            self.tasks[p as usize].on_cpu = false;
            self.tasks[p as usize].left_cpu = self.now;
        }
        let next_tick = self.next_tick_after(self.now);
        let rq = &mut self.cpus[cpu];
        rq.running = next;
        rq.charged_to = self.now;
        rq.ran_to = self.now;
        if prev.is_none() {
            rq.next_tick = next_tick;
        }
        if next.is_none() {
            self.cpus[cpu].next_tick = NEVER;
            self.cpus[cpu].idle_from = self.now;
        }
        if let Some(n) = next {
            assert!(!self.task(n).on_cpu, "a task executes on one CPU at a time");
            assert!(self.allowed(n, cpu), "a task executes where it is allowed");
            self.tasks[n as usize].on_cpu = true;
            self.tasks[n as usize].ran_on = Some(cpu);
        }
        self.stir_spinners();
    }

    /// Kernel model 2.3: from the picked donor to the task that executes for it.
    fn walk(&mut self, cpu: usize, donor: T) -> Walk {
        let mut x = donor;
        let mut running_in_chain = false;
        let mut path = Vec::new();
        for _ in 0..=self.tasks.len() {
            if !self.is_no_runner(x) {
                return Walk::Run(x);
            }
            path.push(x);
            let is_running_here = self.cpus[cpu].running == Some(x);
            running_in_chain |= is_running_here;
            let waits = self.task(x).blocked_on;
            let owner = waits.and_then(|l| self.locks[l.index()].word.owner);
            let link = Link {
                waits: waits.is_some(),
                returning: self.task(x).returning,
                is_running_here,
                running_in_chain,
                owner: owner.map(|o| self.owner_facts(cpu, x, o)),
            };
            match (step(link, &self.mechanisms), owner) {
                (Step::Follow, Some(o)) => {
                    self.out.chain_hops += 1;
                    self.cpus[cpu].pick_work += self.costs.chain_hop;
                    self.tasks[o as usize].blocked_donor = Some(x);
                    x = o;
                }
                (Step::Migrate, Some(o)) => {
                    let target = self.task(o).cpu;
                    self.drop_donor(cpu);
                    // The waiters behind it follow in the same step, or find it gone one by one.
                    let n = if self.mechanisms.chain_migration { path.len() } else { 1 };
                    for &mover in path.iter().rev().take(n) {
                        self.proxy_migrate(cpu, mover, target);
                    }
                    return Walk::Again;
                }
                (Step::Idle, _) => {
                    self.drop_donor(cpu);
                    return Walk::Idle;
                }
                (Step::RunIt, _) => {
                    self.unblock(x);
                    return Walk::Run(x);
                }
                (Step::SendHome, _) => {
                    self.send_home(cpu, x);
                    return Walk::Again;
                }
                (Step::Park, Some(o)) => {
                    self.park(cpu, x, o);
                    return Walk::Again;
                }
                (Step::DeactivateHead, _) => {
                    self.give_up(cpu, donor);
                    return Walk::Again;
                }
                _ => {
                    self.give_up(cpu, x);
                    return Walk::Again;
                }
            }
        }
        let tid = self.task(donor).tid.0;
        self.note(format!("deadlock: the lock chain of task {tid} ends in a cycle"));
        self.give_up(cpu, donor);
        Walk::Again
    }

    /// True for a task that cannot be run as picked: blocked, or to be sent home first.
    fn is_no_runner(&self, t: T) -> bool {
        self.task(t).is_blocked || self.task(t).returning
    }

    /// The task no longer waits on the runqueue: it may run.
    pub(crate) fn unblock(&mut self, x: T) {
        let task = &mut self.tasks[x as usize];
        task.blocked_on = None;
        task.is_blocked = false;
        task.returning = false;
        task.asleep = None;
    }

    /// A waiter goes to sleep like any other; one that a signal has woken stays, awake.
    fn give_up(&mut self, cpu: usize, x: T) {
        if self.task(x).asleep.is_none() {
            return if self.mechanisms.donor_migration {
                self.send_home(cpu, x);
            } else {
                self.unblock(x);
            };
        }
        self.tasks[x as usize].blocked_on = None;
        self.drop_donor(cpu);
        self.block(cpu, x, Leave::MayDelay);
    }

    fn owner_facts(&self, cpu: usize, x: T, owner: T) -> Owner {
        let o = self.task(owner);
        if owner == x && self.task(x).blocked_on.is_some_and(|l| self.locks[l.index()].word.pickup)
        {
            Owner::Itself
        } else if owner == x {
            // It waits for what it has: nothing but sleep can come of that.
            Owner::Asleep
        } else if !o.is_queued() || o.delayed {
            Owner::Asleep
        } else if o.cpu != cpu {
            Owner::Elsewhere
        } else {
            Owner::Here
        }
    }

    /// Kernel model 2.4: the scheduling context moves; affinity does not matter, `wake_cpu` stays.
    fn proxy_migrate(&mut self, cpu: usize, x: T, target: usize) {
        self.dequeue_to_move(cpu, x);
        self.tasks[x as usize].cpu = target;
        self.enqueue(target, x);
        self.out.donor_migrations += 1;
        self.cpus[cpu].pick_work += self.costs.proxy_migration;
        let kind = SchedEvent::ProxyMigrate {
            tid: self.task(x).tid,
            orig_cpu: self.machine.cpus[cpu],
            dest_cpu: self.machine.cpus[target],
        };
        self.emit(cpu, Context::Task, kind);
        self.wakeup_preempt(target, x, Join::Again);
    }

    /// Takes a queued task off its queue for another one.
    pub(crate) fn dequeue_to_move(&mut self, cpu: usize, t: T) {
        match self.task(t).class {
            Class::Fair => self.fair_dequeue_move(cpu, t),
            Class::Realtime => {
                self.rt_dequeue(cpu, t);
            }
            Class::Deadline => {
                self.dl_dequeue(cpu, t);
            }
            Class::Stop => {
                self.stop_dequeue(cpu, t);
            }
            Class::Idle => {}
        }
        self.tasks[t as usize].on_rq = OnRq::No;
        self.cpus[cpu].n_running -= 1;
    }

    /// Queues a task on a CPU that is set already.
    pub(crate) fn enqueue(&mut self, cpu: usize, t: T) {
        assert_eq!(self.task(t).on_rq, OnRq::No, "a task joins one queue");
        self.account(cpu);
        self.tasks[t as usize].on_rq = OnRq::Queued;
        self.cpus[cpu].n_running += 1;
        match self.task(t).class {
            Class::Fair => self.fair_enqueue(cpu, t, Join::Again),
            Class::Realtime => self.rt_enqueue(cpu, t),
            Class::Deadline => self.dl_enqueue(cpu, t),
            Class::Stop => self.cpus[cpu].stop.push_back(t),
            Class::Idle => {}
        }
    }
}
