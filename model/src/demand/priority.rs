//! Classes and priorities of tasks, as their switches show them.

use super::extract::Extract;
use super::{Op, SchedParams};
use crate::{HostTask, Nanos, SchedPolicy, TaskId};

impl Extract<'_> {
    /// Applies a priority that differs from the one in force.
    pub(super) fn sched_change(&mut self, id: TaskId, prio: i32, at: u64) {
        let params = self.params(id, prio);
        let b = &mut self.builds[id.index()];
        match b.sched {
            None => {
                b.sched = Some(params);
                b.first_sched = params;
            }
            Some(old) if old.kernel_prio() != prio => {
                b.sched = Some(params);
                b.push(at, Op::SetSched(params));
            }
            Some(_) => {}
        }
    }

    /// Applies a priority that was changed during a stretch on a CPU: at its beginning, because
    /// what sets a priority mostly comes before the work that needs it.
    pub(super) fn sched_change_since_came(&mut self, id: TaskId, prio: i32, at: u64) {
        let params = self.params(id, prio);
        let b = &mut self.builds[id.index()];
        if b.on_cpu.is_none() || b.sched.is_none_or(|old| old.kernel_prio() == prio) {
            return self.sched_change(id, prio, at);
        }
        b.sched = Some(params);
        let (came, since) = b.came;
        b.insert(came, since, Op::SetSched(params));
    }

    pub(super) fn host_task(&self, id: TaskId) -> Option<&HostTask> {
        let info = &self.tracker.tasks()[id.index()];
        self.host?.task(info.tid, self.names.text(info.comm))
    }

    /// Parameters behind a kernel priority: the sidecar's if they match it, else read off the number.
    pub(super) fn params(&self, id: TaskId, prio: i32) -> SchedParams {
        if let Some(h) = self.host_task(id) {
            let params = SchedParams {
                policy: h.policy.unwrap_or_default(),
                nice: h.nice.unwrap_or(0),
                rt_priority: h.rt_priority.unwrap_or(0),
                runtime: Nanos(h.runtime_ns.unwrap_or(0)),
                deadline: Nanos(h.deadline_ns.unwrap_or(0)),
                period: Nanos(h.period_ns.or(h.deadline_ns).unwrap_or(0)),
            };
            if params.kernel_prio() == prio {
                return params;
            }
        }
        let comm = self.names.text(self.tracker.tasks()[id.index()].comm);
        if prio == 0 && comm.starts_with("migration/") {
            return SchedParams { policy: SchedPolicy::Stop, ..SchedParams::default() };
        }
        if (0..=99).contains(&prio) {
            let rt_priority = 99 - prio;
            return SchedParams {
                policy: SchedPolicy::Fifo,
                rt_priority,
                ..SchedParams::default()
            };
        }
        SchedParams::fair((prio - 120).clamp(-20, 19))
    }
}
