//! The fair class on one CPU: EEVDF queue, charging, picking, delayed dequeue.

use crate::decision::Rule;
use crate::engine::{Engine, NEVER};
use crate::group::Goes;
use crate::rule::lag::{Load, clamp_lag, decayed_lag, place};
use crate::rule::pelt::Average;
use crate::rule::weight::{IDLE_WEIGHT, calc_delta, weight_of_nice};
use crate::state::{Class, T, Task};
use model::SchedPolicy;

/// How a fair task joins its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// After a sleep, a move or a class change.
    Again,
    /// For the first time: half a slice (`PLACE_DEADLINE_INITIAL`).
    New,
}

/// How a fair task leaves its queue to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It stays as a delayed sleeper while it is not eligible (`DELAY_DEQUEUE`).
    MayDelay,
    /// It leaves at once: it exits, or returns to its own CPU.
    AtOnce,
}

/// Whether the current task's protected slice counts in a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Respect,
    Ignore,
}

/// Why a waking task may take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Preempt,
    PreemptShort,
    Update,
    Nothing,
}

pub(crate) fn weight_of(task: &Task) -> i64 {
    if task.is_idle_policy() { IDLE_WEIGHT } else { weight_of_nice(task.sched.nice) }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

impl Engine<'_> {
    /// Load of the whole queue, the current entity included.
    pub(crate) fn fair_load(&self, cpu: usize) -> Load {
        let queue = &self.cpus[cpu].fair;
        match queue.current {
            Some(c) if self.task(c).is_queued() => {
                let f = self.task(c).fair;
                queue.load.with(f.vruntime, f.weight)
            }
            _ => queue.load,
        }
    }

    pub(crate) fn fair_average(&mut self, cpu: usize) -> i64 {
        let v = self.fair_load(cpu).average(self.cpus[cpu].fair.average);
        self.cpus[cpu].fair.average = v;
        v
    }

    fn tree_insert(&mut self, cpu: usize, t: T) {
        self.entity_seq += 1;
        let seq = self.entity_seq;
        let f = &mut self.tasks[t as usize].fair;
        assert!(!f.in_tree, "a fair task is in the tree once");
        f.seq = seq;
        f.in_tree = true;
        let f = *f;
        let queue = &mut self.cpus[cpu].fair;
        queue.tree.insert((f.deadline, f.seq), t);
        queue.load = queue.load.with(f.vruntime, f.weight);
    }

    fn tree_remove(&mut self, cpu: usize, t: T) {
        let f = &mut self.tasks[t as usize].fair;
        assert!(f.in_tree, "a fair task leaves the tree it is in");
        f.in_tree = false;
        let f = *f;
        let queue = &mut self.cpus[cpu].fair;
        let removed = queue.tree.remove(&(f.deadline, f.seq));
        assert_eq!(removed, Some(t), "the tree is keyed by what it holds");
        queue.load = queue.load.without(f.vruntime, f.weight);
    }

    /// Charges virtual time to the fair donor for `delta` ns (kernel model 5.6, `update_curr`).
    pub(crate) fn fair_charge(&mut self, cpu: usize, t: T, delta: u64) {
        let f = &mut self.tasks[t as usize].fair;
        f.vruntime += calc_delta(signed(delta), f.weight);
        let consumed = f.vruntime >= f.deadline;
        if consumed {
            f.deadline = f.vruntime + calc_delta(f.slice, f.weight);
        }
        let unprotected = f.vruntime >= f.protected_until;
        if self.cpus[cpu].fair.n_queued > 1 && (consumed || unprotected) {
            if self.cpus[cpu].fair.next == Some(t) {
                self.cpus[cpu].fair.next = None;
            }
            self.resched_fair(cpu, self.costs.slice_end, Rule::SliceEnds);
        }
    }

    fn lag_limit(&self, cpu: usize, own: i64) -> i64 {
        let largest = self.cpus[cpu].fair.slices.last_key_value().map_or(own, |(s, _)| *s);
        largest.max(own) + self.tick_ns()
    }

    /// Saves the lag of a task that leaves, or decays that of a delayed one. True if the task no
    /// longer stands where that lag puts it, because a limit changed the lag.
    ///
    /// # Source
    ///
    /// Kernel model 5.9; `update_entity_lag`.
    fn update_lag(&mut self, cpu: usize, t: T) -> bool {
        let v = self.fair_average(cpu);
        let task = self.task(t);
        let f = task.fair;
        let mut lag = clamp_lag(v, f.vruntime, self.lag_limit(cpu, f.slice), f.weight);
        if task.delayed {
            lag = decayed_lag(lag, f.lag);
        }
        self.tasks[t as usize].fair.lag = lag;
        v - lag != f.vruntime
    }

    /// Kernel model 5.5.
    fn place_entity(&mut self, cpu: usize, t: T, join: Join) {
        let base = signed(self.machine.base_slice.0);
        let v = self.fair_average(cpu);
        let others = self.fair_load(cpu);
        let f = &mut self.tasks[t as usize].fair;
        if !f.custom_slice {
            f.slice = base;
        }
        if join == Join::New
            && let Some(known) = self.demand.tasks[t as usize].initial_fair
        {
            (f.vruntime, f.deadline) = (known.vruntime_ns, known.deadline_ns);
            return;
        }
        f.vruntime = place(v, others, f.lag, f.weight);
        if f.relative_deadline {
            f.deadline += f.vruntime;
            f.relative_deadline = false;
            return;
        }
        let mut request = calc_delta(f.slice, f.weight);
        if join == Join::New {
            request /= 2;
        }
        f.deadline = f.vruntime + request;
    }

    fn count_slice(&mut self, cpu: usize, slice: i64) {
        *self.cpus[cpu].fair.slices.entry(slice).or_insert(0) += 1;
    }

    fn uncount_slice(&mut self, cpu: usize, slice: i64) {
        let slices = &mut self.cpus[cpu].fair.slices;
        if let Some(n) = slices.get_mut(&slice) {
            *n -= 1;
            if *n == 0 {
                slices.remove(&slice);
            }
        }
    }

    /// Joins the queue; the caller has set `on_rq`.
    pub(crate) fn fair_enqueue(&mut self, cpu: usize, t: T, join: Join) {
        self.account(cpu);
        self.count_in_groups(cpu, t, Goes::In);
        self.tasks[t as usize].fair.weight = self.hierarchical_weight(cpu, t);
        self.bring_load(cpu, t, join);
        let is_current = self.cpus[cpu].fair.current == Some(t);
        if !is_current {
            self.place_entity(cpu, t, join);
            self.tree_insert(cpu, t);
        }
        self.cpus[cpu].fair.n_queued += 1;
        self.server_start(cpu);
        let slice = self.task(t).fair.slice;
        self.count_slice(cpu, slice);
        if self.cpus[cpu].hrtick_at == NEVER {
            self.arm_hrtick(cpu);
        }
    }

    /// Leaves the queue for good, or stays as a delayed sleeper: true when it left.
    pub(crate) fn fair_dequeue_sleep(&mut self, cpu: usize, t: T, leave: Leave) -> bool {
        self.account(cpu);
        if self.cpus[cpu].fair.next == Some(t) {
            self.cpus[cpu].fair.next = None;
        }
        let eligible = self.fair_load(cpu).is_eligible(self.task(t).fair.vruntime);
        self.update_lag(cpu, t);
        if leave == Leave::MayDelay && !eligible {
            self.tasks[t as usize].delayed = true;
            return false;
        }
        self.fair_remove(cpu, t);
        true
    }

    /// Leaves to be queued elsewhere: lag and the rest of the request go along (5.10).
    pub(crate) fn fair_dequeue_move(&mut self, cpu: usize, t: T) {
        self.account(cpu);
        self.update_lag(cpu, t);
        self.fair_remove(cpu, t);
        let f = &mut self.tasks[t as usize].fair;
        f.deadline -= f.vruntime;
        f.relative_deadline = true;
    }

    /// A task's average joins that of the CPU it is queued on.
    fn bring_load(&mut self, cpu: usize, t: T, join: Join) {
        let now = self.now;
        let f = &mut self.tasks[t as usize].fair;
        let was_on = f.load_on.replace(cpu);
        if join == Join::New || was_on.is_none() {
            // A new task counts in full.
            f.load = Average::of(f.weight >> 10, now);
        } else {
            f.load.advance(now, 0);
        }
        let load = f.load.value();
        if was_on != Some(cpu) {
            if let Some(was_on) = was_on {
                self.average(was_on);
                self.cpus[was_on].load.add(-load);
            }
            self.cpus[cpu].load.add(load);
        }
    }

    fn fair_remove(&mut self, cpu: usize, t: T) {
        let now = self.now;
        let f = &mut self.tasks[t as usize].fair;
        f.load.advance(now, f.weight >> 10);
        self.count_in_groups(cpu, t, Goes::Out);
        if self.task(t).fair.in_tree {
            self.tree_remove(cpu, t);
        }
        let slice = self.task(t).fair.slice;
        self.uncount_slice(cpu, slice);
        self.cpus[cpu].fair.n_queued -= 1;
        self.server_stop(cpu);
        if self.cpus[cpu].fair.next == Some(t) {
            self.cpus[cpu].fair.next = None;
        }
    }

    /// Ends a delayed dequeue: the task is really asleep now.
    pub(crate) fn fair_finish_delayed(&mut self, cpu: usize, t: T) {
        self.update_lag(cpu, t);
        self.tasks[t as usize].delayed = false;
        self.fair_remove(cpu, t);
    }

    /// A delayed sleeper wakes where it is, and keeps its place and its request unless its lag was
    /// limited (5.9).
    ///
    /// # Source
    ///
    /// `requeue_delayed_entity`.
    pub(crate) fn fair_undelay(&mut self, cpu: usize, t: T) {
        self.account(cpu);
        let is_out_of_place = self.update_lag(cpu, t);
        self.tasks[t as usize].delayed = false;
        if is_out_of_place && self.task(t).fair.in_tree {
            self.tree_remove(cpu, t);
            let slice = self.task(t).fair.slice;
            self.uncount_slice(cpu, slice);
            self.place_entity(cpu, t, Join::Again);
            self.tree_insert(cpu, t);
            let slice = self.task(t).fair.slice;
            self.count_slice(cpu, slice);
        }
    }

    /// A new weight while queued (5.5, reweight).
    pub(crate) fn fair_reweight(&mut self, cpu: usize, t: T) {
        let new = self.hierarchical_weight(cpu, t);
        let old = self.task(t).fair.weight;
        if new == old || old == 0 {
            self.tasks[t as usize].fair.weight = new;
            return;
        }
        self.account(cpu);
        let v = self.fair_average(cpu);
        let in_tree = self.task(t).fair.in_tree;
        if in_tree {
            self.tree_remove(cpu, t);
        }
        let scale =
            |x: i64| i64::try_from(i128::from(x) * i128::from(old) / i128::from(new)).unwrap_or(0);
        let f = &mut self.tasks[t as usize].fair;
        let lag = scale(v - f.vruntime);
        f.deadline = v + scale(f.deadline - v);
        f.protected_until = v + scale(f.protected_until - v);
        f.vruntime = v - lag;
        f.weight = new;
        if in_tree {
            self.tree_insert(cpu, t);
        }
    }

    /// EEVDF pick (kernel model 5.6). The winner may be a delayed sleeper.
    pub(crate) fn fair_pick(&self, cpu: usize, protection: Protection) -> Option<T> {
        let queue = &self.cpus[cpu].fair;
        let current = queue.current.filter(|&c| self.task(c).is_queued());
        let n = queue.tree.len() + usize::from(current.is_some());
        if n <= 1 {
            return current.or_else(|| queue.tree.values().next().copied());
        }
        let load = self.fair_load(cpu);
        if protection == Protection::Respect
            && let Some(buddy) = queue.next
            && load.is_eligible(self.task(buddy).fair.vruntime)
        {
            return Some(buddy);
        }
        let current = current.filter(|&c| load.is_eligible(self.task(c).fair.vruntime));
        if let Some(c) = current
            && protection == Protection::Respect
            && self.task(c).fair.vruntime < self.task(c).fair.protected_until
        {
            return Some(c);
        }
        let best =
            queue.tree.values().copied().find(|&t| load.is_eligible(self.task(t).fair.vruntime));
        match (best, current) {
            (None, c) => c,
            (Some(b), Some(c)) if self.task(c).fair.deadline < self.task(b).fair.deadline => {
                Some(c)
            }
            (b, _) => b,
        }
    }

    /// Makes `t` the current entity of its queue and protects its slice (5.6).
    pub(crate) fn fair_set_current(&mut self, cpu: usize, t: T) {
        self.reweigh_in_group(cpu, t);
        if self.task(t).fair.in_tree {
            self.tree_remove(cpu, t);
        }
        self.cpus[cpu].fair.current = Some(t);
        if self.cpus[cpu].fair.next == Some(t) {
            self.cpus[cpu].fair.next = None;
        }
        let own = self.task(t).fair;
        let smallest = self.cpus[cpu].fair.slices.first_key_value().map_or(own.slice, |(s, _)| *s);
        let until = if smallest >= own.slice {
            own.deadline
        } else {
            let others = self.cpus[cpu].fair.load;
            own.deadline.min(others.average(own.vruntime) + 1)
        };
        self.tasks[t as usize].fair.protected_until = until;
        self.arm_hrtick(cpu);
    }

    /// The current entity goes back into the tree, or is gone.
    pub(crate) fn fair_put_current(&mut self, cpu: usize, t: T) {
        if self.cpus[cpu].fair.current == Some(t) {
            self.cpus[cpu].fair.current = None;
            if self.task(t).is_queued() && self.task(t).class == Class::Fair {
                self.tree_insert(cpu, t);
            }
        }
    }

    /// Arms the precise slice end of the fair donor (5.8): where it becomes the picked one, and
    /// where another task joins it and no timer runs. A timer that is armed stays armed, whoever
    /// is picked meanwhile, until the CPU goes idle.
    ///
    /// # Source
    ///
    /// `hrtick_start_fair`, `hrtick_update`, `hrtick_needs_rearm`.
    ///
    /// # Deviation
    ///
    /// Interrupts take no time, so the slice is not stretched by their share.
    pub(crate) fn arm_hrtick(&mut self, cpu: usize) {
        const SHORTEST_NS: u64 = 10_000;
        const NEAR_NS: u64 = 5_000;
        if !self.machine.hrtick {
            return;
        }
        let queue = &self.cpus[cpu].fair;
        let Some(c) = queue.current.filter(|&c| self.task(c).is_queued()) else { return };
        if queue.n_queued <= 1 || self.cpus[cpu].donor != Some(c) {
            return;
        }
        let f = self.task(c).fair;
        let left = i128::from(f.deadline - f.vruntime) * i128::from(f.weight)
            / i128::from(crate::rule::weight::NICE_0);
        let left = u64::try_from(left).unwrap_or(0).max(SHORTEST_NS);
        let at = self.cpus[cpu].charged_to + left;
        let armed = self.cpus[cpu].hrtick_at;
        if armed == NEVER || armed.abs_diff(at) > NEAR_NS {
            self.cpus[cpu].hrtick_at = at;
            self.cpus[cpu].dirty = true;
        }
    }

    /// Wakeup preemption of the fair donor by the fair task `p` (5.7).
    pub(crate) fn fair_wakeup_preempt(&mut self, cpu: usize, p: T, join: Join) {
        let Some(s) = self.cpus[cpu].donor else { return };
        let verdict = self.fair_verdict(cpu, s, p, join);
        match verdict {
            Verdict::Nothing => {}
            Verdict::Update => {
                let v = self.fair_average(cpu);
                let smallest =
                    self.cpus[cpu].fair.slices.first_key_value().map_or(0, |(slice, _)| *slice);
                let f = &mut self.tasks[s as usize].fair;
                let until = f.vruntime.min(v) + calc_delta(smallest, f.weight);
                f.protected_until = f.protected_until.min(until);
            }
            Verdict::Preempt | Verdict::PreemptShort => {
                let f = &mut self.tasks[s as usize].fair;
                if f.vruntime < f.protected_until {
                    f.protected_until = f.vruntime;
                }
                if verdict == Verdict::PreemptShort {
                    self.set_buddy(cpu, p);
                }
                self.resched_fair(cpu, self.costs.wake_busy, Rule::WakeupPreempts);
            }
        }
    }

    fn set_buddy(&mut self, cpu: usize, p: T) {
        let shorter = self.cpus[cpu]
            .fair
            .next
            .is_some_and(|b| self.task(b).fair.slice < self.task(p).fair.slice);
        if !shorter {
            self.cpus[cpu].fair.next = Some(p);
        }
    }

    fn fair_verdict(&mut self, cpu: usize, s: T, p: T, join: Join) -> Verdict {
        if s == p {
            return Verdict::Nothing;
        }
        let (donor_idle, woken_idle) =
            (self.task(s).is_idle_policy(), self.task(p).is_idle_policy());
        if donor_idle && !woken_idle {
            return Verdict::Preempt;
        }
        self.account(cpu);
        let woken = self.task(p);
        if woken_idle || woken.sched.policy == SchedPolicy::Batch || woken.delayed {
            return Verdict::Update;
        }
        if woken.fair.slice < self.task(s).fair.slice {
            let eligible = self.fair_load(cpu).is_eligible(woken.fair.vruntime);
            if self.fair_pick(cpu, Protection::Ignore) == Some(p) || eligible {
                return Verdict::PreemptShort;
            }
            return Verdict::Update;
        }
        if join == Join::New {
            return Verdict::Update;
        }
        if self.fair_pick(cpu, Protection::Respect) == Some(p) {
            Verdict::Preempt
        } else {
            Verdict::Update
        }
    }
}

impl Engine<'_> {
    /// `sched_yield` of a fair donor: the rest of its request is forfeited (5.11), unless it is
    /// alone on its CPU.
    ///
    /// # Source
    ///
    /// `yield_task_fair`.
    pub(crate) fn fair_yield(&mut self, cpu: usize, t: T) {
        if self.cpus[cpu].n_running == 1 {
            return;
        }
        let load = self.fair_load(cpu);
        let f = &mut self.tasks[t as usize].fair;
        if load.is_eligible(f.vruntime) {
            f.vruntime = f.deadline;
            f.deadline += calc_delta(f.slice, f.weight);
        }
        self.cpus[cpu].fair.next = None;
    }
}
