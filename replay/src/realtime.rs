//! The realtime and deadline classes on one CPU.

use crate::decision::Rule;
use crate::engine::{Engine, NEVER};
use crate::fair::Join;
use crate::state::{Class, T, TimerKind};
use model::SchedPolicy;

/// RR time slice, in ms (kernel model 6.1).
const RR_SLICE_MS: u32 = 100;

impl Engine<'_> {
    pub(crate) fn rt_enqueue(&mut self, cpu: usize, t: T) {
        let prio = self.task(t).prio;
        self.cpus[cpu].rt.entry(prio).or_default().push_back(t);
    }

    /// A task that loses an inherited priority goes ahead of its new equals.
    pub(crate) fn rt_to_head(&mut self, cpu: usize, t: T) {
        let prio = self.task(t).prio;
        if self.task(t).class == Class::Realtime
            && let Some(list) = self.cpus[cpu].rt.get_mut(&prio)
        {
            list.retain(|&other| other != t);
            list.push_front(t);
        }
    }

    pub(crate) fn rt_dequeue(&mut self, cpu: usize, t: T) -> bool {
        let prio = self.task(t).prio;
        if let Some(list) = self.cpus[cpu].rt.get_mut(&prio) {
            list.retain(|&other| other != t);
            if list.is_empty() {
                self.cpus[cpu].rt.remove(&prio);
            }
        }
        true
    }

    pub(crate) fn stop_dequeue(&mut self, cpu: usize, t: T) -> bool {
        self.cpus[cpu].stop.retain(|&other| other != t);
        true
    }

    /// One tick of an RR donor: at the end of its slice it goes to the tail of its list.
    pub(crate) fn rr_tick(&mut self, cpu: usize) {
        let Some(d) = self.cpus[cpu].donor else { return };
        if self.task(d).sched.policy != SchedPolicy::Rr {
            return;
        }
        let full = RR_SLICE_MS * self.machine.hz / 1000;
        let task = &mut self.tasks[d as usize];
        task.rr_left = if task.rr_left == 0 { full } else { task.rr_left }.saturating_sub(1);
        if task.rr_left > 0 {
            return;
        }
        let prio = task.prio;
        if let Some(list) = self.cpus[cpu].rt.get_mut(&prio)
            && list.len() > 1
            && list.front() == Some(&d)
        {
            list.rotate_left(1);
            self.resched(cpu, self.costs.slice_end, Rule::RoundRobin);
        }
    }

    /// Queues a deadline task; a throttled one waits for its replenishment outside.
    pub(crate) fn dl_enqueue(&mut self, cpu: usize, t: T) {
        let dl = self.task(t).dl;
        if !dl.throttled {
            self.cpus[cpu].dl.insert((dl.deadline, t));
        }
    }

    pub(crate) fn dl_dequeue(&mut self, cpu: usize, t: T) -> bool {
        let deadline = self.task(t).dl.deadline;
        self.cpus[cpu].dl.remove(&(deadline, t));
        true
    }

    /// The constant-bandwidth rule at a wakeup (kernel model 6.2).
    pub(crate) fn dl_wake(&mut self, t: T) {
        let now = signed(self.now);
        let s = self.task(t).sched;
        let dl = &mut self.tasks[t as usize].dl;
        if dl.throttled || dl.boosted {
            return;
        }
        let left = i128::from((dl.deadline - now) >> 10) * i128::from(signed(s.runtime.0) >> 10);
        let asked = i128::from(dl.budget >> 10) * i128::from(signed(s.deadline.0) >> 10);
        if dl.deadline < now || asked > left || dl.budget <= 0 {
            dl.deadline = now + signed(s.deadline.0);
            dl.budget = signed(s.runtime.0);
        }
    }

    /// Drains the donor's budget; at its end the task is throttled until its next period.
    pub(crate) fn dl_charge(&mut self, cpu: usize, t: T, delta: u64) {
        let dl = &mut self.tasks[t as usize].dl;
        if dl.boosted {
            return;
        }
        dl.budget -= signed(delta);
        if dl.budget > 0 || dl.throttled {
            return;
        }
        let key = (dl.deadline, t);
        dl.throttled = true;
        let s = self.task(t).sched;
        let next_period = key.0 - signed(s.deadline.0) + signed(s.period.0.max(s.deadline.0));
        self.cpus[cpu].dl.remove(&key);
        let at = u64::try_from(next_period).unwrap_or(0).max(self.now);
        self.arm(at, TimerKind::Replenish(t));
        self.resched(cpu, self.costs.slice_end, Rule::BudgetOver);
    }

    pub(crate) fn dl_replenish(&mut self, t: T) {
        let cpu = self.task(t).cpu;
        self.account(cpu);
        self.cpus[cpu].dirty = true;
        let now = signed(self.now);
        let s = self.task(t).sched;
        let (runtime, period) = (signed(s.runtime.0).max(1), signed(s.period.0).max(1));
        let dl = &mut self.tasks[t as usize].dl;
        dl.throttled = false;
        while dl.budget <= 0 {
            dl.deadline += period;
            dl.budget += runtime;
        }
        if dl.deadline < now {
            dl.deadline = now + signed(s.deadline.0);
            dl.budget = runtime;
        }
        if self.task(t).is_queued() && self.task(t).class == Class::Deadline {
            self.dl_enqueue(cpu, t);
            self.wakeup_preempt(cpu, t, Join::Again);
        }
    }

    pub(crate) fn dl_budget_end(&self, cpu: usize) -> u64 {
        let rq = &self.cpus[cpu];
        match rq.donor {
            Some(d)
                if self.task(d).class == Class::Deadline
                    && !self.task(d).dl.throttled
                    && !self.task(d).dl.boosted =>
            {
                let left = u64::try_from(self.task(d).dl.budget).unwrap_or(0);
                rq.charged_to.saturating_add(left)
            }
            _ => NEVER,
        }
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
