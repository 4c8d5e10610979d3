//! The fair server: fair tasks get a share of a CPU that realtime tasks would keep.

use crate::decision::Rule;
use crate::engine::{Engine, NEVER};
use crate::state::TimerKind;

/// Budget and period of a server (kernel model 6.2).
const BUDGET_NS: i64 = 50_000_000;
const PERIOD_NS: i64 = 1_000_000_000;

impl Engine<'_> {
    /// The first fair task is queued: the clock runs, deferred to the last moment.
    ///
    /// # Source
    ///
    /// Kernel model 6.2; `dl_server_start` in `kernel/sched/deadline.c`.
    pub(crate) fn server_start(&mut self, cpu: usize) {
        let now = self.signed_now();
        let server = &mut self.cpus[cpu].server;
        if server.started {
            return;
        }
        server.started = true;
        server.rescuing = false;
        if server.deadline <= now || server.budget <= 0 {
            (server.deadline, server.budget) = (now + PERIOD_NS, BUDGET_NS);
        }
        self.server_arm(cpu);
    }

    /// No fair task is queued.
    pub(crate) fn server_stop(&mut self, cpu: usize) {
        if self.cpus[cpu].fair.n_queued == 0 {
            let server = &mut self.cpus[cpu].server;
            server.started = false;
            server.active = false;
        }
    }

    /// Sees to it that there is a timer no later than the server is due.
    ///
    /// It is due when the rest of the budget just fits before the deadline; at the deadline without one.
    fn server_arm(&mut self, cpu: usize) {
        let at = self.server_due(cpu);
        let server = &mut self.cpus[cpu].server;
        if server.timer_at.is_none_or(|set| set > at) {
            server.timer_at = Some(at);
            let index = u32::try_from(cpu).expect("fewer than 2^32 CPUs");
            self.arm(at, TimerKind::Server(index));
        }
    }

    fn server_due(&self, cpu: usize) -> u64 {
        let server = &self.cpus[cpu].server;
        u64::try_from(server.deadline - server.budget.max(0)).unwrap_or(0).max(self.now)
    }

    pub(crate) fn server_timer(&mut self, cpu: usize) {
        if self.cpus[cpu].server.timer_at != Some(self.now) {
            return;
        }
        self.cpus[cpu].server.timer_at = None;
        self.account(cpu);
        let server = &self.cpus[cpu].server;
        if !server.started || server.active {
            return;
        }
        if self.server_due(cpu) > self.now {
            return self.server_arm(cpu);
        }
        let server = &mut self.cpus[cpu].server;
        if server.budget <= 0 {
            server.deadline += PERIOD_NS;
            server.budget += BUDGET_NS;
            if !server.rescuing {
                return self.server_arm(cpu);
            }
        }
        server.active = true;
        server.rescuing = true;
        self.resched(cpu, 0, Rule::FairServer);
    }

    /// Fair work uses up the budget, whether the server brought it about or not.
    pub(crate) fn server_charge(&mut self, cpu: usize, delta: u64) {
        let now = self.signed_now();
        let server = &mut self.cpus[cpu].server;
        if !server.started {
            return;
        }
        server.budget -= i64::try_from(delta).unwrap_or(i64::MAX);
        if server.budget > 0 {
            return;
        }
        if server.active {
            server.active = false;
            self.server_arm(cpu);
            self.resched(cpu, self.costs.slice_end, Rule::FairServer);
        } else {
            // Fair tasks had their share by themselves: a new period.
            (server.deadline, server.budget) = (now + PERIOD_NS, BUDGET_NS);
            server.rescuing = false;
            self.server_arm(cpu);
        }
    }

    /// Whether the server goes before the earliest deadline task.
    pub(crate) fn server_goes_before(&self, cpu: usize, deadline: Option<i64>) -> bool {
        let server = &self.cpus[cpu].server;
        server.active && deadline.is_none_or(|d| server.deadline < d)
    }

    /// When a server that runs a fair task has used up its budget.
    pub(crate) fn server_end(&self, cpu: usize) -> u64 {
        let rq = &self.cpus[cpu];
        if !(rq.serves && rq.server.active && rq.donor.is_some()) {
            return NEVER;
        }
        rq.charged_to.saturating_add(u64::try_from(rq.server.budget).unwrap_or(0))
    }

    fn signed_now(&self) -> i64 {
        i64::try_from(self.now).unwrap_or(i64::MAX)
    }
}
