//! Wakeups: who becomes runnable, where, and whether that preempts.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::fair::{Join, Leave};
use crate::state::{Class, OnRq, T};
use model::demand::DEEP_NS;
use model::{Context, SchedEvent};

/// Who wakes, and from which context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waker {
    /// The task running on this CPU.
    Task(usize),
    /// The same, and it says that it will soon sleep (`WF_SYNC`).
    Sync(usize),
    /// A timer or device interrupt on this CPU.
    Interrupt(usize),
}

/// Where a woken task that must be placed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// It was off every runqueue.
    Sleep,
    /// It was a donor on its owner's runqueue.
    OwnersCpu,
}

impl Waker {
    pub(crate) fn cpu(self) -> usize {
        match self {
            Self::Task(cpu) | Self::Sync(cpu) | Self::Interrupt(cpu) => cpu,
        }
    }

    fn context(self) -> Context {
        match self {
            Self::Task(_) | Self::Sync(_) => Context::Task,
            Self::Interrupt(_) => Context::HardIrq,
        }
    }
}

impl Engine<'_> {
    /// `try_to_wake_up` (kernel model 4.1 and 2.5); a no-op for a task that is not asleep.
    pub(crate) fn wake(&mut self, p: T, waker: Waker) {
        if self.task(p).asleep.is_none() {
            self.rule = Rule::Follows;
            return;
        }
        let fields = self.wake_fields(p);
        self.emit(waker.cpu(), waker.context(), SchedEvent::Waking(fields));
        self.unpark(p);
        let home = self.task(p).cpu;
        let mut from = From::Sleep;
        if self.task(p).is_queued() {
            if self.task(p).delayed {
                self.fair_undelay(home, p);
            }
            if self.return_donor(home, p) {
                from = From::OwnersCpu;
            } else {
                if !self.task(p).on_cpu {
                    self.tasks[p as usize].returning = self.returns_later(home, p);
                    self.wakeup_preempt(home, p, Join::Again);
                }
                self.local_handoff(home, p);
                self.finish_wake(p, waker, Rule::StillQueued);
                self.activate_parked(p, home);
                return;
            }
        }
        self.wake_elsewhere(p, waker, from);
    }

    /// A donor that sits on its owner's runqueue is dequeued there: true when it must be placed.
    ///
    /// Kernel model 2.5, step 1b.
    fn return_donor(&mut self, home: usize, p: T) -> bool {
        let task = self.task(p);
        let migrated = task.is_blocked && task.cpu != task.wake_cpu;
        if !(self.mechanisms.proxy_execution && self.mechanisms.return_in_wakeup && migrated) {
            return false;
        }
        self.tasks[p as usize].blocked_on = None;
        if self.cpus[home].running == Some(p) {
            return false;
        }
        if self.cpus[home].donor == Some(p) {
            self.account(home);
            self.put_donor(home, p);
            let running = self.cpus[home].running;
            self.cpus[home].donor = running;
            if let Some(r) = running {
                self.set_donor(home, r);
                self.cpus[home].next_class = self.task(r).class;
            }
            self.resched(home, self.costs.wake_busy, Rule::DonorReturns);
            self.emit_donor(home);
        }
        self.block(home, p, Leave::AtOnce);
        true
    }

    /// Without return in the wakeup, a donor that is woken where it is goes home when picked.
    fn returns_later(&self, home: usize, p: T) -> bool {
        let m = &self.mechanisms;
        let task = self.task(p);
        let migrated = task.cpu != task.wake_cpu;
        let waited = task.is_blocked && !task.delayed && m.proxy_execution;
        let sends = m.donor_migration && !m.return_in_wakeup;
        waited && sends && home == task.cpu && migrated
    }

    fn local_handoff(&mut self, home: usize, p: T) {
        if self.mechanisms.local_handoff_resched && self.cpus[home].donor == Some(p) {
            self.resched(home, self.costs.wake_busy, Rule::LockHandedOver);
        }
    }

    fn wake_elsewhere(&mut self, p: T, waker: Waker, from: From) {
        let orig = self.task(p).cpu;
        let dest = self.select_cpu(p, waker);
        if from == From::OwnersCpu {
            self.out.return_migrations += 1;
            let kind = SchedEvent::ProxyReturn {
                tid: self.task(p).tid,
                orig_cpu: self.machine.cpus[orig],
                dest_cpu: self.machine.cpus[dest],
            };
            self.emit(waker.cpu(), waker.context(), kind);
        }
        if orig != dest {
            self.rule = self.placed;
            self.emit_migrate(waker.cpu(), p, orig, dest);
        }
        let task = &mut self.tasks[p as usize];
        task.cpu = dest;
        task.wake_cpu = dest;
        if task.class == Class::Deadline {
            self.dl_wake(p);
        }
        self.enqueue(dest, p);
        self.wakeup_preempt(dest, p, Join::Again);
        if dest != waker.cpu() && self.cpus[dest].need_resched {
            self.cpus[dest].resched_at += self.costs.ipi;
        }
        self.finish_wake(p, waker, self.placed);
        self.push_realtime(dest, p);
        self.activate_parked(p, self.task(p).cpu);
    }

    fn finish_wake(&mut self, p: T, waker: Waker, placed: Rule) {
        let task = &mut self.tasks[p as usize];
        task.is_blocked = false;
        task.asleep = None;
        let fields = self.wake_fields(p);
        self.emit_by(placed, waker.cpu(), waker.context(), SchedEvent::Wakeup(fields));
    }

    /// First enqueue of a task.
    pub(crate) fn wake_new(&mut self, p: T, cpu: usize, waker: Waker, placed: Rule) {
        let task = &mut self.tasks[p as usize];
        task.cpu = cpu;
        task.wake_cpu = cpu;
        task.asleep = None;
        if task.class == Class::Deadline {
            self.dl_wake(p);
        }
        if self.task(p).class == Class::Fair {
            self.account(cpu);
            self.tasks[p as usize].on_rq = OnRq::Queued;
            self.cpus[cpu].n_running += 1;
            self.fair_enqueue(cpu, p, Join::New);
        } else {
            self.enqueue(cpu, p);
        }
        let fields = self.wake_fields(p);
        self.emit_by(placed, waker.cpu(), waker.context(), SchedEvent::WakeupNew(fields));
        self.wakeup_preempt(cpu, p, Join::New);
    }

    /// Kernel model 4.6: everything compares against the donor, never the executing owner.
    pub(crate) fn wakeup_preempt(&mut self, cpu: usize, p: T, join: Join) {
        let class = self.task(p).class;
        let running_class = self.cpus[cpu].next_class;
        let delay = if self.cpus[cpu].running.is_none() {
            let idle_for = self.now - self.cpus[cpu].idle_from;
            if idle_for >= DEEP_NS { self.costs.wake_deep } else { self.costs.wake_idle }
        } else {
            self.costs.wake_busy
        };
        if class > running_class {
            self.cpus[cpu].next_class = class;
            self.resched(cpu, delay, Rule::WakeupPreempts);
            return;
        }
        if class < running_class {
            return;
        }
        let Some(donor) = self.cpus[cpu].donor else {
            self.resched(cpu, delay, Rule::WakeupPreempts);
            return;
        };
        match class {
            Class::Fair => self.fair_wakeup_preempt(cpu, p, join),
            Class::Realtime if self.task(p).prio < self.task(donor).prio => {
                self.resched(cpu, delay, Rule::WakeupPreempts);
            }
            Class::Deadline if self.task(p).dl.deadline < self.task(donor).dl.deadline => {
                self.resched(cpu, delay, Rule::WakeupPreempts);
            }
            _ => {}
        }
    }
}
