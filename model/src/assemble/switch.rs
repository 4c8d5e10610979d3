//! Switches: who leaves a CPU, into which state, and who comes.

use super::Assemble;
use crate::{
    CpuId, Event, NoteKind, OnCpu, PrevState, Queued, SchedEvent, TaskId, TaskState, Tid, Timestamp,
};

impl Assemble<'_> {
    pub(super) fn switch(&mut self, event: &Event, at: Timestamp) {
        let SchedEvent::Switch { prev, prev_prio, prev_state, next, next_prio, .. } = event.kind
        else {
            return;
        };
        self.prio(prev, prev_prio, at);
        self.prio(next, next_prio, at);
        let (prev, next) = (self.on_cpu(prev), self.on_cpu(next));
        self.check_runs(event.cpu, prev, at, NoteKind::SwitchFromNotRunning);
        if let OnCpu::Task(task) = prev {
            self.leave(task, event.cpu, prev_state, at);
        }
        if let OnCpu::Task(task) = next {
            self.come(task, event.cpu, at);
        }
        if let Some(cpu) = self.cpus.get_mut(&event.cpu) {
            cpu.set(at, next);
        }
    }

    /// An event names the task that runs; the first one on a CPU makes it known.
    pub(super) fn known_to_run(&mut self, cpu: CpuId, tid: Tid, at: Timestamp) {
        let named = self.on_cpu(tid);
        if tid != Tid::IDLE && named == OnCpu::Idle {
            // No event has introduced this task yet.
            return;
        }
        self.check_runs(cpu, named, at, NoteKind::EventFromNotRunning);
    }

    fn on_cpu(&self, tid: Tid) -> OnCpu {
        self.tracker.id(tid).map_or(OnCpu::Idle, OnCpu::Task)
    }

    /// Makes `named` the one that runs on `cpu`, with a note when it was known not to.
    fn check_runs(&mut self, cpu: CpuId, named: OnCpu, at: Timestamp, note: NoteKind) {
        let Some(state) = self.cpus.get_mut(&cpu) else { return };
        let was = state.on_cpu;
        if was == named {
            return;
        }
        if was != OnCpu::Unknown {
            self.notes.add(note, at);
        }
        // What its first event in a row shows was so since the first of them.
        let since = state.seen_since.take().filter(|_| was == OnCpu::Unknown).unwrap_or(at);
        state.set(since, named);
        if let OnCpu::Task(task) = was {
            self.lines[task.index()].enter(at, TaskState::Unknown);
        }
        if let OnCpu::Task(task) = named {
            self.runs_nowhere_else(task, cpu, at);
            let line = &mut self.lines[task.index()];
            line.last_cpu = Some(cpu);
            let is_new = line.state == TaskState::Unknown;
            line.enter(if is_new { since.max(line.since) } else { at }, TaskState::Running(cpu));
        }
    }

    fn runs_nowhere_else(&mut self, task: TaskId, cpu: CpuId, at: Timestamp) {
        if let TaskState::Running(other) = self.lines[task.index()].state
            && other != cpu
        {
            self.notes.add(NoteKind::RunningOnTwoCpus, at);
            if let Some(state) = self.cpus.get_mut(&other) {
                state.set(at, OnCpu::Unknown);
                state.end_donation(at);
            }
        }
    }

    fn leave(&mut self, task: TaskId, cpu: CpuId, prev_state: PrevState, at: Timestamp) {
        let waits_for = self.waits.innermost(task);
        let line = &mut self.lines[task.index()];
        line.switches += 1;
        let woken_early = line.early_wakeup.take();
        let state = match prev_state {
            PrevState::Dead => TaskState::Exited,
            PrevState::Runnable | PrevState::Preempted => {
                TaskState::Runnable(Some(cpu), Queued::Preempted)
            }
            _ if woken_early.is_some() => {
                line.wakeup = Some(self.wakeups.len());
                self.wakeups.extend(woken_early);
                TaskState::Runnable(None, Queued::Woken)
            }
            _ => match waits_for {
                Some(lock) => TaskState::Blocked(lock),
                None => TaskState::Sleeping(prev_state),
            },
        };
        line.enter(at, state);
        if prev_state == PrevState::Dead {
            self.waits.cut(task, at, &mut self.notes);
        }
    }

    fn come(&mut self, task: TaskId, cpu: CpuId, at: Timestamp) {
        self.runs_nowhere_else(task, cpu, at);
        let line = &mut self.lines[task.index()];
        // It had no wakeup since the beginning, so it was queued all the time.
        line.was(TaskState::Runnable(Some(cpu), Queued::Preempted));
        match line.state {
            TaskState::Runnable(None, _) => {
                line.queue_on(at, cpu);
                self.notes.add(NoteKind::RunqueueGuessed, at);
            }
            TaskState::Sleeping(_) | TaskState::Blocked(_) => {
                self.notes.add(NoteKind::RanWithoutWakeup, at);
            }
            _ => {}
        }
        if let Some(wakeup) = line.wakeup.take() {
            self.wakeups[wakeup].first_run = Some(at);
        }
        line.last_cpu = Some(cpu);
        line.is_away = false;
        line.enter(at, TaskState::Running(cpu));
    }
}
