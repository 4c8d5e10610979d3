//! Events into a [`Trace`]: one pass, one small state machine per CPU and per task.
//!
//! Total: what cannot happen is counted as a [`crate::Note`] and the pass goes on from what the
//! event says. Events make a task or a CPU known; before the first one it is unknown.

mod event_name;
mod migrate;
mod owner;
mod response;
mod switch;
mod task_line;
mod wait;
mod wake;

use crate::history::Survey;
use crate::note::Notes;
use crate::trace::params;
use crate::{
    Context, CpuId, CpuLine, Donation, Event, Host, Lost, LostWhat, Migration, MigrationKind,
    NoteKind, OnCpu, Recording, SchedEvent, Stretch, Task, TaskId, TaskState, TaskTracker, Tid,
    Timestamp, Trace, Wakeup,
};
use event_name::event_name;
use owner::{Found, Ledger};
use response::Responses;
use std::collections::{BTreeMap, BTreeSet};
use task_line::TaskLine;
use wait::Waits;

fn lost(what: LostWhat) -> NoteKind {
    match what {
        LostWhat::Events => NoteKind::LostEvents,
        LostWhat::OwnRecords => NoteKind::LostOwners,
    }
}

/// Whether an event was concluded from futex calls, which are counted themselves.
fn is_concluded(kind: &SchedEvent) -> bool {
    match kind {
        SchedEvent::ContentionBegin { lock, .. }
        | SchedEvent::ContentionEnd { lock, .. }
        | SchedEvent::ContendedRelease { lock }
        | SchedEvent::LockOwner { lock, .. } => lock.is_of_program(),
        _ => false,
    }
}

/// A CPU while events are walked.
#[derive(Debug, Default)]
struct CpuState {
    line: CpuLine,
    on_cpu: OnCpu,
    since: Timestamp,
    /// While it is unknown who runs: since when events on this CPU have been seen.
    seen_since: Option<Timestamp>,
    /// Donor, running, since when.
    donating: Option<(TaskId, TaskId, Timestamp)>,
}

impl CpuState {
    fn set(&mut self, at: Timestamp, on_cpu: OnCpu) {
        if self.since < at {
            let stretch = Stretch { start: self.since, end: at, on_cpu: self.on_cpu };
            self.line.stretches.push(stretch);
        }
        self.since = at;
        self.on_cpu = on_cpu;
    }

    fn end_donation(&mut self, at: Timestamp) {
        if let Some((donor, running, start)) = self.donating.take()
            && start < at
        {
            self.line.donations.push(Donation {
                cpu: self.line.cpu,
                donor,
                running,
                start,
                end: at,
            });
        }
    }
}

pub(crate) struct Assemble<'r> {
    recording: &'r Recording,
    host: Option<&'r Host>,
    /// Lent by the walk.
    tracker: TaskTracker,
    lines: Vec<TaskLine>,
    cpus: BTreeMap<CpuId, CpuState>,
    waits: Waits,
    ledger: Ledger,
    responses: Responses,
    wakeups: Vec<Wakeup>,
    migrations: Vec<Migration>,
    notes: Notes,
    counts: BTreeMap<&'static str, u64>,
    /// Losses not met yet, latest first.
    losses: Vec<Lost>,
    /// Latest event time so far.
    now: Timestamp,
    start: Timestamp,
    /// Whether blocked tasks may change runqueue in silence.
    is_proxying: bool,
    has_waking: bool,
}

impl<'r> Assemble<'r> {
    /// Nothing yet.
    pub(crate) fn new(recording: &'r Recording, host: Option<&'r Host>, survey: &Survey) -> Self {
        let start = survey.start;
        let mut losses = recording.lost.clone();
        losses.sort_by_key(|l| std::cmp::Reverse(l.after));
        let mut notes = Notes::default();
        for loss in &losses {
            notes.add(lost(loss.what), loss.after);
        }
        losses.retain(|loss| loss.what == LostWhat::Events);
        let is_proxying =
            host.and_then(|h| h.proxy_execution) == Some(true) && !survey.shows_donors;
        if is_proxying {
            notes.add(NoteKind::DonorsInvisible, start);
        }
        let cpu_ids: BTreeSet<CpuId> = recording.cpus.iter().chain(&survey.cpus).copied().collect();
        let cpu = |cpu: CpuId| {
            let line = CpuLine { cpu, ..CpuLine::default() };
            (cpu, CpuState { line, since: start, ..CpuState::default() })
        };
        Self {
            recording,
            host,
            tracker: TaskTracker::default(),
            lines: Vec::new(),
            cpus: cpu_ids.into_iter().map(cpu).collect(),
            waits: Waits::default(),
            ledger: Ledger::default(),
            responses: Responses::default(),
            wakeups: Vec::new(),
            migrations: Vec::new(),
            notes,
            counts: BTreeMap::new(),
            losses,
            now: start,
            start,
            is_proxying,
            has_waking: survey.has_waking,
        }
    }

    /// Meets the losses before `at`: what was running is not known any more.
    fn lose_until(&mut self, at: Timestamp) {
        while let Some(loss) = self.losses.pop_if(|l| l.after <= at) {
            let when = loss.after.max(self.now);
            let hit = |cpu: &CpuId| loss.cpu.is_none_or(|c| c == *cpu);
            for (_, cpu) in self.cpus.iter_mut().filter(|(id, _)| hit(id)) {
                if let OnCpu::Task(task) = cpu.on_cpu {
                    self.lines[task.index()].enter(when, TaskState::Unknown);
                }
                cpu.set(when, OnCpu::Unknown);
                cpu.seen_since = None;
                cpu.end_donation(when);
            }
        }
    }

    /// Takes the next event.
    pub(crate) fn observe(&mut self, event: &Event, tracker: &mut TaskTracker) {
        std::mem::swap(&mut self.tracker, tracker);
        self.lose_until(event.at);
        self.event(event);
        std::mem::swap(&mut self.tracker, tracker);
    }

    fn event(&mut self, event: &Event) {
        if event.at < self.now {
            self.notes.add(NoteKind::ClockBackwards, event.at);
        }
        self.now = self.now.max(event.at);
        let at = self.now;
        if !is_concluded(&event.kind) {
            *self.counts.entry(event_name(&event.kind)).or_insert(0) += 1;
        }
        let n = self.tracker.tasks().len();
        self.lines.resize_with(n, || TaskLine::new(self.start));
        self.responses.observe(event, at, &self.tracker);
        if let Some(cpu) = self.cpus.get_mut(&event.cpu).filter(|c| c.on_cpu == OnCpu::Unknown) {
            cpu.seen_since.get_or_insert(at);
        }
        if !matches!(event.kind, SchedEvent::Switch { .. }) {
            self.known_to_run(event.cpu, event.tid, at);
        }
        match event.kind {
            SchedEvent::Switch { prev, .. } => {
                if let Some(prev) = self.tracker.id(prev) {
                    self.ledger.left_cpu(prev);
                }
                self.switch(event, at);
            }
            SchedEvent::Waking(w) => self.waking(event, w, at),
            SchedEvent::Wakeup(w) => self.arrival(event, w, at),
            SchedEvent::WakeupNew(w) => self.first_wakeup(event, w, at),
            SchedEvent::MigrateTask { tid, prio, orig_cpu, dest_cpu, .. } => {
                self.prio(tid, prio, at);
                self.migrate(tid, orig_cpu, dest_cpu, at);
            }
            SchedEvent::ProxyMigrate { tid, orig_cpu, dest_cpu } => {
                self.migrated(tid, orig_cpu, dest_cpu, MigrationKind::Donor, at);
            }
            SchedEvent::ProxyReturn { tid, orig_cpu, dest_cpu } => {
                self.migrated(tid, orig_cpu, dest_cpu, MigrationKind::Return, at);
            }
            SchedEvent::Fork { child, .. } => {
                if let Some(id) = self.tracker.id(child) {
                    self.lines[id.index()] = TaskLine::new(at);
                }
            }
            SchedEvent::PiSetprio { tid, new_prio, .. } => self.prio(tid, new_prio, at),
            SchedEvent::Donor { donor, running } => self.donor(event.cpu, donor, running, at),
            _ => self.lock_event(event, at),
        }
    }

    /// Events of locks count for the task that was running, interrupts aside.
    fn lock_event(&mut self, event: &Event, at: Timestamp) {
        let in_interrupt = matches!(event.context, Context::HardIrq | Context::SoftIrq);
        let is_wait = matches!(
            event.kind,
            SchedEvent::ContentionBegin { .. } | SchedEvent::ContentionEnd { .. }
        );
        let Some(task) = self.tracker.id(event.tid).filter(|_| !in_interrupt) else {
            if is_wait {
                self.notes.add(NoteKind::ContentionInInterrupt, at);
            }
            return;
        };
        self.waits.observe(task, &event.kind, at, &mut self.notes);
        if let SchedEvent::LockOwner { lock, flags, owner, bits } = event.kind {
            let found = match owner {
                None => Found::Nobody,
                Some(owner) => match self.tracker.id(owner.tid) {
                    Some(owner) => Found::of(owner, task, (flags, bits)),
                    None => Found::Something,
                },
            };
            return self.ledger.found(task, (lock, flags), found, at);
        }
        self.ledger.observe(task, &event.kind, at);
    }

    fn prio(&mut self, tid: Tid, prio: i32, at: Timestamp) {
        if let Some(id) = self.tracker.id(tid) {
            self.lines[id.index()].set_prio(at, prio);
        }
    }

    /// The trace, of the tasks that the walk met.
    pub(crate) fn finish(mut self, tracker: TaskTracker) -> Trace {
        self.tracker = tracker;
        let end = self.now;
        for cpu in self.cpus.values_mut() {
            cpu.set(end, OnCpu::Unknown);
            cpu.end_donation(end);
        }
        for line in &mut self.lines {
            line.enter(end, TaskState::Unknown);
        }
        let lines = std::mem::take(&mut self.lines);
        let infos = self.tracker.tasks().to_vec();
        let mut tasks = Vec::with_capacity(infos.len());
        for (info, line) in infos.into_iter().zip(lines) {
            let entry =
                self.host.and_then(|h| h.task(info.tid, self.recording.names.text(info.comm)));
            let prio = line.prios.last().map(|(_, prio)| *prio).or(info.prio);
            tasks.push(Task {
                sched: params(entry, prio),
                info,
                prios: line.prios,
                intervals: line.intervals,
                switches: line.switches,
                waits: Vec::new(),
            });
        }
        let mut waits = self.waits.finish(end, &mut self.notes);
        for (index, wait) in waits.iter().enumerate() {
            tasks[wait.waiter.index()].waits.push(index);
        }
        let cpus: Vec<CpuLine> = self.cpus.into_values().map(|c| c.line).collect();
        let mut wakeups = self.wakeups;
        wakeups.sort_by_key(|w| w.waking);
        let span = (self.start, end);
        let locks = self.ledger.settle(&mut waits, (&tasks, &cpus), span, &mut self.notes);
        Trace {
            format: self.recording.format.clone(),
            host: self.host.cloned(),
            names: self.recording.names.clone(),
            start: self.start,
            end,
            tasks,
            cpus,
            locks,
            waits,
            wakeups,
            migrations: self.migrations,
            responses: self.responses.into_list(),
            notes: self.notes.into_list(),
            lost: self.recording.lost.clone(),
            counts: self.counts,
        }
    }
}
