//! Wakeups: `sched_waking` in the waker's context, then the arrival on a runqueue.

use super::Assemble;
use crate::{
    Basis, CpuId, Event, Migration, MigrationKind, NoteKind, SchedEvent, TaskId, TaskState,
    Timestamp, WakeFields, Wakeup,
};

impl Assemble<'_> {
    pub(super) fn waking(&mut self, event: &Event, w: WakeFields, at: Timestamp) {
        self.prio(w.tid, w.prio, at);
        let Some(task) = self.tracker.id(w.tid) else { return };
        let waker = self.tracker.id(event.tid);
        self.find_silent_migration(task, w.target_cpu, at);
        let wakeup = Wakeup {
            task,
            waker,
            context: event.context,
            waking: at,
            arrival: None,
            cpu: None,
            first_run: None,
            is_first: false,
        };
        let line = &mut self.lines[task.index()];
        match line.state {
            TaskState::Running(_) => {
                line.early_wakeup = Some(wakeup);
                self.notes.add(NoteKind::WokenWhileRunning, at);
                return;
            }
            TaskState::Runnable(..) => {
                self.notes.add(NoteKind::WokenTwice, at);
                return;
            }
            TaskState::Unknown | TaskState::Sleeping(_) => line.was_asleep(),
            TaskState::Blocked(lock) => {
                let in_interrupt =
                    matches!(event.context, crate::Context::HardIrq | crate::Context::SoftIrq);
                if let Some(by) = waker.filter(|_| !in_interrupt) {
                    self.ledger.woken(lock, by, at);
                }
            }
            TaskState::Exited => {}
        }
        let line = &mut self.lines[task.index()];
        line.wake(at, None);
        line.wakeup = Some(self.wakeups.len());
        self.wakeups.push(wakeup);
    }

    pub(super) fn arrival(&mut self, event: &Event, w: WakeFields, at: Timestamp) {
        self.prio(w.tid, w.prio, at);
        let Some(task) = self.tracker.id(w.tid) else { return };
        let line = &mut self.lines[task.index()];
        if let TaskState::Running(_) = line.state {
            // The wakeup found it on its CPU: it does not fall asleep.
            line.early_wakeup = None;
            return;
        }
        if let Some(wakeup) = line.wakeup.filter(|&w| self.wakeups[w].arrival.is_none()) {
            self.wakeups[wakeup].arrival = Some(at);
            self.wakeups[wakeup].cpu = Some(w.target_cpu);
            line.queue_on(at, w.target_cpu);
            return;
        }
        if matches!(line.state, TaskState::Runnable(None, _)) {
            line.queue_on(at, w.target_cpu);
            return;
        }
        if matches!(line.state, TaskState::Runnable(..)) {
            return;
        }
        if self.has_waking {
            self.notes.add(NoteKind::ArrivalWithoutWaking, at);
        }
        self.arrived_at_once(event, w, at);
    }

    pub(super) fn first_wakeup(&mut self, event: &Event, w: WakeFields, at: Timestamp) {
        self.prio(w.tid, w.prio, at);
        self.arrived_at_once(event, w, at);
    }

    fn arrived_at_once(&mut self, event: &Event, w: WakeFields, at: Timestamp) {
        let Some(task) = self.tracker.id(w.tid) else { return };
        let waker = self.tracker.id(event.tid);
        let line = &mut self.lines[task.index()];
        line.was_asleep();
        line.wake(at, Some(w.target_cpu));
        line.wakeup = Some(self.wakeups.len());
        self.wakeups.push(Wakeup {
            task,
            waker,
            context: event.context,
            waking: at,
            arrival: Some(at),
            cpu: Some(w.target_cpu),
            first_run: None,
            is_first: matches!(event.kind, SchedEvent::WakeupNew(_)),
        });
    }

    /// A blocked donor that is woken elsewhere than it ran was migrated without an event.
    ///
    /// # Source
    ///
    /// Kernel model 7.5.
    fn find_silent_migration(&mut self, task: TaskId, to: CpuId, at: Timestamp) {
        let line = &mut self.lines[task.index()];
        let Some(from) = line.last_cpu.filter(|cpu| *cpu != to) else { return };
        if !self.is_proxying || !matches!(line.state, TaskState::Blocked(_)) {
            return;
        }
        line.is_away = true;
        let (kind, basis) = (MigrationKind::Donor, Basis::Inferred);
        self.migrations.push(Migration { at, task, from, to, kind, basis });
        self.notes.add(NoteKind::DonorMigrationGuessed, at);
    }
}
