//! Owners that the recorder read, among those that are concluded.

use super::Source;
use super::fill::{Fill, Last, Rule};
use crate::{Basis, LockFlags, OwnerBits, Ownership, TaskId, TaskState, Timestamp};

/// Whom the recorder found to have a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::assemble) enum Found {
    /// Nobody: it was free, or on its way to somebody.
    Nobody,
    /// This task.
    Owner(TaskId),
    /// Readers; this one is among them or was one before.
    Readers(TaskId),
    /// Somebody who cannot be named.
    Something,
}

impl Found {
    /// What an owner word says that names `owner` and that `waiter` met.
    ///
    /// # Source
    ///
    /// `kernel/locking/mutex.c`, `MUTEX_FLAG_PICKUP`: such a mutex is handed to the owner it names,
    /// which sleeps. `kernel/locking/rwsem.c`, `RWSEM_READER_OWNED`: the owner is the reader that
    /// came last, and stays there when it goes.
    pub(in crate::assemble) fn of(
        owner: TaskId,
        waiter: TaskId,
        (flags, bits): (LockFlags, OwnerBits),
    ) -> Self {
        let is_mutex = flags.has(LockFlags::MUTEX);
        if !is_mutex && bits.has(OwnerBits::READERS) {
            return if owner == waiter { Self::Something } else { Self::Readers(owner) };
        }
        let is_on_its_way = is_mutex && bits.has(OwnerBits::PICKUP);
        if is_on_its_way || owner == waiter { Self::Nobody } else { Self::Owner(owner) }
    }
}

impl Fill<'_> {
    /// The recorder looked. Calls say more than a look now and then, and need none.
    pub(super) fn found(&mut self, found: Found, at: Timestamp) {
        if self.source == Source::Calls || found == Found::Something {
            return;
        }
        let at = at.max(self.at);
        let (owner, basis, last) = match found {
            Found::Owner(task) => {
                self.until_found(task, at);
                (Ownership::Held(task), Basis::Exact, Last::Found(task))
            }
            Found::Readers(task) => {
                self.until_gone(at);
                (Ownership::Held(task), Basis::Inferred, Last::Reader(task))
            }
            Found::Nobody | Found::Something => {
                self.until_gone(at);
                (Ownership::Free, Basis::Exact, Last::Nobody)
            }
        };
        // What follows may be a conclusion; this moment is none.
        let moment = Timestamp(at.0.saturating_add(1)).min(self.end);
        self.push(moment, owner, basis, Rule::Reader);
        self.last = last;
        self.before = None;
        self.begun = self.begun.map(|begun| begun.max(at));
    }

    /// Up to `at`, when somebody else than the owner so far, or nobody, has the lock.
    fn until_gone(&mut self, at: Timestamp) {
        match self.last {
            Last::Acquired(task) | Last::Found(task) => {
                self.keeps(task, at);
                let gone = self.on_until(task, at);
                self.push(gone, Ownership::Held(task), Basis::Inferred, Rule::LastWinner);
                self.push(at, Ownership::Free, Basis::Inferred, Rule::LastWinner);
            }
            Last::Reader(task) => {
                self.push(at, Ownership::Held(task), Basis::Inferred, Rule::Reader);
            }
            Last::Released(_) | Last::Nobody => {
                self.push(at, Ownership::Free, self.best(), Rule::Nothing);
            }
            Last::Nothing | Last::Lost(_) => {
                self.push(at, Ownership::Unknown, Basis::Unknown, Rule::Nothing);
            }
        }
    }

    /// Up to `at`, when `task` has the lock.
    ///
    /// Off its CPU a task neither takes a lock nor lets go of it: what lies between the moments at
    /// which two owners are known belongs to the former one at first and to the latter at last.
    pub(super) fn until_found(&mut self, task: TaskId, at: Timestamp) {
        let at = at.max(self.at);
        let since = self.off_since(task, at);
        let begun = self.begun.unwrap_or(at).clamp(self.at, since);
        match self.last {
            Last::Found(owner) if owner == task => {}
            Last::Acquired(owner) if owner == task => {
                if !(self.kind.has_one_owner() && self.is_watched()) {
                    self.push(since, Ownership::Held(task), Basis::Inferred, Rule::CameUnseen);
                }
            }
            Last::Found(owner) => {
                self.keeps(owner, since);
                let gone = self.on_until(owner, since);
                self.push(gone, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
                let chance = self.on_from(task, since);
                self.push(chance, Ownership::Free, Basis::Inferred, Rule::LastWinner);
                self.push(since, Ownership::Held(task), Basis::Inferred, Rule::CameUnseen);
            }
            Last::Acquired(owner) => {
                self.keeps(owner, since);
                self.push(begun, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
                self.push(since, Ownership::Held(task), Basis::Inferred, Rule::CameUnseen);
            }
            Last::Reader(reader) => {
                self.push(since, Ownership::Held(reader), Basis::Inferred, Rule::Reader);
            }
            Last::Released(_) | Last::Nobody => {
                let chance = self.on_from(task, since).max(begun);
                self.push(chance, Ownership::Free, Basis::Inferred, Rule::LastWinner);
                self.push(since, Ownership::Held(task), Basis::Inferred, Rule::CameUnseen);
            }
            Last::Lost(_) => {
                self.push(since, Ownership::Held(task), Basis::Inferred, Rule::AfterLost);
            }
            Last::Nothing => {
                self.push(begun, Ownership::Unknown, Basis::Unknown, Rule::Nothing);
                self.push(since, Ownership::Held(task), Basis::Inferred, Rule::CameUnseen);
            }
        }
        self.push(at, Ownership::Held(task), Basis::Exact, Rule::Releaser);
    }

    /// `task`, which has the lock, keeps it while it is off its CPU.
    pub(super) fn keeps(&mut self, task: TaskId, to: Timestamp) {
        let Some(line) = self.tasks.get(task.index()).filter(|_| self.at < to) else { return };
        let mut until = self.at;
        for interval in line.between(self.at, to) {
            if !is_off_cpu(interval.state) {
                break;
            }
            until = interval.end.min(to);
        }
        self.push(until, Ownership::Held(task), Basis::Exact, Rule::Releaser);
    }

    /// Since when `task` has been off its CPU at `to`; `to` itself when it is on one.
    fn off_since(&self, task: TaskId, to: Timestamp) -> Timestamp {
        let Some(line) = self.tasks.get(task.index()) else { return to };
        let mut since = to;
        for interval in line.between(self.at, to).iter().rev() {
            if !is_off_cpu(interval.state) {
                break;
            }
            since = interval.start.max(self.at);
        }
        since
    }

    /// To when `task` is on a CPU for the last time, `to` at the latest.
    pub(super) fn on_until(&self, task: TaskId, to: Timestamp) -> Timestamp {
        let Some(line) = self.tasks.get(task.index()) else { return to };
        let runs = line.between(self.at, to).iter().rfind(|i| !is_off_cpu(i.state));
        runs.map_or(to, |i| i.end.min(to))
    }

    /// When `task` is on a CPU for the first time, `to` at the latest.
    fn on_from(&self, task: TaskId, to: Timestamp) -> Timestamp {
        let Some(line) = self.tasks.get(task.index()) else { return self.at };
        let runs = line.between(self.at, to).iter().find(|i| !is_off_cpu(i.state));
        runs.map_or(to, |i| i.start.max(self.at))
    }
}

/// A task of which nothing is known may be on a CPU.
fn is_off_cpu(state: TaskState) -> bool {
    matches!(state, TaskState::Runnable(..) | TaskState::Sleeping(_) | TaskState::Blocked(_))
}
