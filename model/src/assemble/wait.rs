//! Lock waits out of `contention_begin` and `contention_end`.
//!
//! A wait begins with the first begin after the previous end of the same task and lock; begins
//! inside it are its phases. For mutexes the order of phases is checked against the grammar of
//! kernel model 7.3: `33 [32 (33 32)* [33]] end`.

use crate::note::Notes;
use crate::{
    LockFlags, LockId, LockKind, LockWait, NoteKind, Phase, PhaseKind, SchedEvent, TaskId,
    Timestamp,
};
use std::collections::BTreeMap;

/// Waits while events are walked.
#[derive(Debug, Default)]
pub(super) struct Waits {
    done: Vec<LockWait>,
    /// Open waits of each task as indexes into `done`, the innermost one last.
    open: BTreeMap<TaskId, Vec<usize>>,
}

impl Waits {
    pub(super) fn observe(
        &mut self,
        task: TaskId,
        kind: &SchedEvent,
        at: Timestamp,
        notes: &mut Notes,
    ) {
        match *kind {
            SchedEvent::ContentionBegin { lock, flags } => self.begin(task, lock, flags, at, notes),
            SchedEvent::ContentionEnd { lock, ret } => self.end(task, lock, ret, at, notes),
            _ => {}
        }
    }

    /// The lock of the innermost wait in which a task may be off its CPU.
    pub(super) fn innermost(&self, task: TaskId) -> Option<LockId> {
        let open = self.open.get(&task)?;
        let waits = open.iter().rev().map(|&index| &self.done[index]);
        waits.filter(|w| !w.kind.is_spinning()).map(|w| w.lock).next()
    }

    /// The task is gone: its waits go no further.
    pub(super) fn cut(&mut self, task: TaskId, at: Timestamp, notes: &mut Notes) {
        for index in self.open.remove(&task).unwrap_or_default() {
            self.done[index].until = at;
            notes.add(NoteKind::WaitCutOff, self.done[index].begin);
        }
    }

    pub(super) fn finish(mut self, end: Timestamp, notes: &mut Notes) -> Vec<LockWait> {
        for task in self.open.keys().copied().collect::<Vec<_>>() {
            self.cut(task, end, notes);
        }
        self.done
    }

    fn begin(
        &mut self,
        task: TaskId,
        lock: LockId,
        flags: LockFlags,
        at: Timestamp,
        notes: &mut Notes,
    ) {
        let kind = LockKind::of_flags(flags);
        let phase = if flags.has(LockFlags::SPIN) { PhaseKind::Spin } else { PhaseKind::Queued };
        let open = self.open.entry(task).or_default();
        if let Some(place) = open.iter().position(|&index| self.done[index].lock == lock) {
            let index = open[place];
            let wait = &mut self.done[index];
            let is_next = wait.phases.last().is_some_and(|last| last.kind != phase);
            if kind == LockKind::Mutex && is_next {
                wait.phases.push(Phase { from: at, kind: phase });
                return;
            }
            if kind == LockKind::Mutex {
                notes.add(NoteKind::BadWaitGrammar, at);
            }
            if phase == PhaseKind::Queued && kind == LockKind::Mutex {
                return;
            }
            // It starts from its beginning: the end of the former wait is missing.
            notes.add(NoteKind::WaitRestarted, at);
            wait.until = at;
            open.remove(place);
        } else if kind == LockKind::Mutex && phase == PhaseKind::Queued {
            notes.add(NoteKind::BadWaitGrammar, at);
        }
        open.push(self.done.len());
        self.done.push(LockWait {
            waiter: task,
            lock,
            kind,
            begin: at,
            end: None,
            until: at,
            ret: None,
            phases: vec![Phase { from: at, kind: phase }],
            ownership: Vec::new(),
        });
    }

    fn end(&mut self, task: TaskId, lock: LockId, ret: i32, at: Timestamp, notes: &mut Notes) {
        let open = self.open.entry(task).or_default();
        let Some(place) = open.iter().position(|&index| self.done[index].lock == lock) else {
            notes.add(NoteKind::EndWithoutBegin, at);
            return;
        };
        let wait = &mut self.done[open.remove(place)];
        wait.end = Some(at);
        wait.until = at;
        wait.ret = Some(ret);
    }
}
