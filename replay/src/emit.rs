//! The replayed schedule, written in the vocabulary of a trace.

use crate::decision::{Decision, Rule};
use crate::engine::Engine;
use crate::state::T;
use model::demand::LockIndex;
use model::{Context, Event, LockFlags, LockId, PrevState, SchedEvent, Tid, Timestamp, WakeFields};

/// What a replay writes as it goes.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub donor_migrations: u64,
    pub return_migrations: u64,
    pub idle_detours: u64,
    pub handoffs: u64,
    pub chain_hops: u64,
    pub odd: Vec<crate::ReplayNote>,
}

impl Engine<'_> {
    pub(crate) fn emit(&mut self, cpu: usize, context: Context, kind: SchedEvent) {
        let tid = self.cpus[cpu].running.map_or(Tid::IDLE, |t| self.task(t).tid);
        let cpu = self.machine.cpus[cpu];
        let rule = std::mem::take(&mut self.rule);
        (self.ends.sink)(Event { at: Timestamp(self.now), cpu, context, tid, kind }, rule.into());
    }

    /// As [`Self::emit`], for an event of which a rule is to be told.
    pub(crate) fn emit_by(&mut self, rule: Rule, cpu: usize, context: Context, kind: SchedEvent) {
        self.rule = rule;
        self.emit(cpu, context, kind);
    }

    pub(crate) fn wake_fields(&self, t: T) -> WakeFields {
        let task = self.task(t);
        let target_cpu = self.machine.cpus[task.cpu];
        WakeFields { tid: task.tid, comm: task.comm, prio: task.prio, target_cpu }
    }

    pub(crate) fn emit_switch(
        &mut self,
        cpu: usize,
        prev: Option<T>,
        state: PrevState,
        next: Option<T>,
        decision: Decision,
    ) {
        let idle = (Tid::IDLE, self.out_idle_name(cpu), 120);
        let who = |e: &Self, t: Option<T>| {
            t.map_or(idle, |t| (e.task(t).tid, e.task(t).comm, e.task(t).prio))
        };
        let (p, n) = (who(self, prev), who(self, next));
        let kind = SchedEvent::Switch {
            prev: p.0,
            prev_comm: p.1,
            prev_prio: p.2,
            prev_state: state,
            next: n.0,
            next_comm: n.1,
            next_prio: n.2,
        };
        let at = Timestamp(self.now);
        let event =
            Event { at, cpu: self.machine.cpus[cpu], context: Context::Task, tid: p.0, kind };
        (self.ends.sink)(event, decision);
    }

    fn out_idle_name(&self, _cpu: usize) -> model::NameId {
        model::NameId(0)
    }

    /// Says who pays and who runs, when that changed and differs or differed.
    pub(crate) fn emit_donor(&mut self, cpu: usize) {
        let rq = &self.cpus[cpu];
        let now = (rq.donor, rq.running);
        let was = rq.shown;
        if now == was {
            return;
        }
        self.cpus[cpu].shown = now;
        let lends = |(d, r): (Option<T>, Option<T>)| d != r && d.is_some() && r.is_some();
        if !lends(now) && !lends(was) {
            return;
        }
        let tid = |t: Option<T>| t.map_or(Tid::IDLE, |t| self.task(t).tid);
        let kind = SchedEvent::Donor { donor: tid(now.0), running: tid(now.1) };
        self.emit(cpu, Context::Task, kind);
    }

    pub(crate) fn lock_id(&self, lock: LockIndex) -> LockId {
        self.demand.locks[lock.index()].lock
    }

    pub(crate) fn emit_begin(&mut self, cpu: usize, lock: LockIndex, flags: u32) {
        let spins = flags & LockFlags::SPIN != 0;
        self.rule = if spins { Rule::LockSpins } else { Rule::LockSleeps };
        let kind =
            SchedEvent::ContentionBegin { lock: self.lock_id(lock), flags: LockFlags(flags) };
        self.emit(cpu, Context::Task, kind);
    }

    pub(crate) fn emit_end(&mut self, cpu: usize, lock: LockIndex, rule: Rule) {
        self.emit_contended(cpu, lock, 0, rule);
    }

    pub(crate) fn emit_contended(&mut self, cpu: usize, lock: LockIndex, ret: i32, rule: Rule) {
        let kind = SchedEvent::ContentionEnd { lock: self.lock_id(lock), ret };
        self.emit_by(rule, cpu, Context::Task, kind);
    }

    pub(crate) fn emit_migrate(&mut self, at_cpu: usize, t: T, orig: usize, dest: usize) {
        let task = self.task(t);
        let kind = SchedEvent::MigrateTask {
            tid: task.tid,
            comm: task.comm,
            prio: task.prio,
            orig_cpu: self.machine.cpus[orig],
            dest_cpu: self.machine.cpus[dest],
        };
        self.emit(at_cpu, Context::Task, kind);
    }

    pub(crate) fn note(&mut self, text: String) {
        if self.out.odd.len() < 1000 {
            let at = Timestamp(self.now);
            self.out.odd.push(crate::ReplayNote { at, text, is_stall: false });
        }
    }

    /// The replay stands still, wholly or in part, from a moment on.
    pub(crate) fn note_stall(&mut self, at: Timestamp, text: String) {
        self.out.odd.insert(0, crate::ReplayNote { at, text, is_stall: true });
    }
}
