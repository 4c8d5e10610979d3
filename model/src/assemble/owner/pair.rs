//! Which record of an owner belongs to which begin of a wait.
//!
//! Both are made in the same tracepoint, in no certain order: they are neighbours among the events
//! of their task, for the same lock with the same flags, and the task does not leave its CPU
//! between them.

use crate::note::Notes;
use crate::{LockFlags, LockId, LockKind, NoteKind, TaskId, Timestamp};
use std::collections::BTreeMap;

type Key = (LockId, LockFlags);

/// A begin or a record, as it stands among the facts of its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    key: Key,
    is_begin: bool,
    /// When.
    pub(super) at: Timestamp,
    /// Facts of the lock: behind a begin, and in front of a record.
    pub(super) n_facts: usize,
}

/// Halves that wait for their other half.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Of each task the latest one.
    halves: BTreeMap<TaskId, Half>,
    has_records: bool,
    notes: Notes,
}

impl Pairs {
    /// A begin: returns its record, if that stands in front of it.
    pub(super) fn begin(&mut self, task: TaskId, key: Key, at: Timestamp) -> Option<Half> {
        let half = Half { key, is_begin: true, at, n_facts: 0 };
        let record = self.join(task, half);
        if record.is_none() && is_read(key.1) {
            self.halves.insert(task, half);
        }
        record
    }

    /// The facts of that begin stand in its lock's list.
    pub(super) fn begun(&mut self, task: TaskId, n_facts: usize) {
        if let Some(half) = self.halves.get_mut(&task) {
            half.n_facts = n_facts;
        }
    }

    /// A record: returns its begin, if that stands in front of it.
    pub(super) fn record(
        &mut self,
        task: TaskId,
        key: Key,
        at: Timestamp,
        n_facts: usize,
    ) -> Option<Half> {
        self.has_records = true;
        let half = Half { key, is_begin: false, at, n_facts };
        let begin = self.join(task, half);
        if begin.is_none() {
            self.halves.insert(task, half);
        }
        begin
    }

    /// Whether there has been a record.
    pub(super) fn has_records(&self) -> bool {
        self.has_records
    }

    /// What waits for its other half waits in vain.
    pub(super) fn give_up(&mut self, task: TaskId) {
        if let Some(half) = self.halves.remove(&task) {
            self.is_alone(half);
        }
    }

    /// Tells what stayed alone, if there are records at all.
    pub(super) fn finish(mut self, notes: &mut Notes) {
        for task in self.halves.keys().copied().collect::<Vec<_>>() {
            self.give_up(task);
        }
        if self.has_records {
            notes.extend(self.notes);
        }
    }

    fn join(&mut self, task: TaskId, half: Half) -> Option<Half> {
        let other = self.halves.remove(&task)?;
        if other.key == half.key && other.is_begin != half.is_begin {
            return Some(other);
        }
        self.is_alone(other);
        None
    }

    fn is_alone(&mut self, half: Half) {
        let kind =
            if half.is_begin { NoteKind::OwnerNotRecorded } else { NoteKind::OwnerWithoutBegin };
        self.notes.add(kind, half.at);
    }
}

/// Whether the recorder reads owners of such locks.
fn is_read(flags: LockFlags) -> bool {
    let kind = LockKind::of_flags(flags);
    matches!(kind, LockKind::Mutex | LockKind::RwsemRead | LockKind::RwsemWrite | LockKind::User)
}
