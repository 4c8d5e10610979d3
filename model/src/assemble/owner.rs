//! Who owned each lock when, from what the trace says about it.
//!
//! Three sources, the best one that a lock has is used alone:
//!
//! 1. *calls*: every acquisition and release of a mutex is recorded (detail full, or a replay);
//! 2. *releases*: `contended_release` names the owner up to that moment, `contention_end` names
//!    it from then on. While somebody is queued no acquisition is silent, so that what lies
//!    between is exact; before that, tasks may come and go unseen;
//! 3. *wakers*: whoever wakes a queued waiter released the lock, probably.
//!
//! Releases and wakers are completed by *records*: where the recorder read the owner at the begin
//! of a wait, that is exact until the lock is seen to pass on, whatever the rules would say.
//!
//! Kinds with several owners at a time are not better than inferred without such a record, and those without
//! owners are unknown. See kernel model 7.4 and 7.6.

mod fill;
mod found;
mod holds;
mod pair;

use crate::note::Notes;
use crate::{
    Basis, CpuLine, Lock, LockFlags, LockId, LockKind, LockWait, NoteKind, OwnerSpan, Ownership,
    SchedEvent, Task, TaskId, Timestamp,
};
use fill::Fill;
pub(super) use found::Found;
use pair::{Half, Pairs};
use std::collections::{BTreeMap, BTreeSet};

/// What became known of a lock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// `contention_end` with success.
    Won(TaskId),
    /// Acquired without contention, by a call.
    Called(TaskId),
    /// `mutex_unlock`.
    Unlocked(TaskId),
    /// `contended_release`.
    Released(TaskId),
    /// This task woke a blocked waiter.
    Woke(TaskId),
    /// A wait began.
    Begun(TaskId),
    /// A waiter queued.
    Queued,
    /// A queued waiter left the list.
    Left,
    /// The recorder found it so.
    Found(Found),
    /// Taken back: it contended or failed after all.
    Void,
}

#[derive(Debug)]
struct LockFacts {
    kind: LockKind,
    facts: Vec<(Timestamp, Fact)>,
    has_release: bool,
    has_calls: bool,
}

/// Everything known of all locks.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    locks: BTreeMap<LockId, LockFacts>,
    has_unlock: bool,
    /// A call that has not contended so far: its lock and fact.
    entered: BTreeMap<TaskId, (LockId, usize)>,
    /// Locks each task is queued for.
    queued: BTreeSet<(TaskId, LockId)>,
    /// Waits begun and not ended.
    begun: BTreeSet<(TaskId, LockId)>,
    /// Begins and records of owners that are not together yet.
    pairs: Pairs,
}

impl Ledger {
    pub(super) fn observe(&mut self, task: TaskId, kind: &SchedEvent, at: Timestamp) {
        match *kind {
            SchedEvent::ContentionBegin { lock, flags } => self.begin(task, lock, flags, at),
            SchedEvent::ContentionEnd { lock, ret } => {
                self.pairs.give_up(task);
                self.begun.remove(&(task, lock));
                if self.queued.remove(&(task, lock)) {
                    self.add(lock, at, Fact::Left);
                }
                if ret == 0 {
                    self.add(lock, at, Fact::Won(task));
                }
            }
            SchedEvent::ContendedRelease { lock } => self.add(lock, at, Fact::Released(task)),
            SchedEvent::MutexLock { lock, .. } => {
                self.add(lock, at, Fact::Called(task));
                let fact = self.locks.get(&lock).map_or(0, |l| l.facts.len() - 1);
                self.entered.insert(task, (lock, fact));
            }
            SchedEvent::MutexLockReturn { ret, .. } if ret != 0 => self.take_back(task),
            SchedEvent::MutexTrylock { lock, ret: 1 } => self.add(lock, at, Fact::Called(task)),
            SchedEvent::MutexUnlock { lock } => {
                self.entered.remove(&task);
                self.add(lock, at, Fact::Unlocked(task));
            }
            _ => {}
        }
    }

    /// A task woke somebody blocked on `lock`.
    pub(super) fn woken(&mut self, lock: LockId, by: TaskId, at: Timestamp) {
        self.add(lock, at, Fact::Woke(by));
    }

    fn begin(&mut self, task: TaskId, lock: LockId, flags: LockFlags, at: Timestamp) {
        if self.entered.get(&task).is_some_and(|(entered, _)| *entered == lock) {
            self.take_back(task);
        }
        let kind = LockKind::of_flags(flags);
        let known = self.locks.entry(lock).or_insert_with(|| LockFacts::new(kind));
        known.kind = kind;
        let record = self.pairs.begin(task, (lock, flags), at);
        let found = record.and_then(|record| known.found_still(record));
        if self.begun.insert((task, lock)) {
            self.add(lock, at, Fact::Begun(task));
        }
        if !flags.has(LockFlags::SPIN) && self.queued.insert((task, lock)) {
            self.add(lock, at, Fact::Queued);
        }
        if let Some(found) = found {
            self.add(lock, at, Fact::Found(found));
        } else if record.is_none() && self.pairs.has_records() {
            // The place of a record that may follow.
            self.add(lock, at, Fact::Void);
        }
        let n_facts = self.locks.get(&lock).map_or(0, |known| known.facts.len());
        self.pairs.begun(task, n_facts);
    }

    /// The recorder found `found` to have the lock when `task` began to wait, or looked again.
    pub(super) fn found(
        &mut self,
        task: TaskId,
        (lock, flags): (LockId, LockFlags),
        found: Found,
        at: Timestamp,
    ) {
        let kind = LockKind::of_flags(flags);
        let known = self.locks.entry(lock).or_insert_with(|| LockFacts::new(kind));
        let n_facts = known.facts.len();
        let begin = self.pairs.record(task, (lock, flags), at, n_facts);
        match begin {
            // It is true of the begin, too.
            Some(begin) if known.keeps(begin.n_facts, found) => {
                let place = begin.n_facts.checked_sub(1).and_then(|n| known.facts.get_mut(n));
                match place.filter(|(_, fact)| *fact == Fact::Void) {
                    Some(place) => place.1 = Fact::Found(found),
                    None if begin.n_facts == n_facts => {
                        self.add(lock, begin.at, Fact::Found(found));
                    }
                    None => self.add(lock, at, Fact::Found(found)),
                }
            }
            _ => self.add(lock, at, Fact::Found(found)),
        }
    }

    /// The task left its CPU: what belongs together stands on one side of that.
    pub(super) fn left_cpu(&mut self, task: TaskId) {
        self.pairs.give_up(task);
    }

    fn take_back(&mut self, task: TaskId) {
        if let Some((lock, fact)) = self.entered.remove(&task)
            && let Some(known) = self.locks.get_mut(&lock)
        {
            known.facts[fact].1 = Fact::Void;
        }
    }

    fn add(&mut self, lock: LockId, at: Timestamp, fact: Fact) {
        let known = self.locks.entry(lock).or_insert_with(|| LockFacts::new(LockKind::Mutex));
        known.has_release |= matches!(fact, Fact::Released(_));
        known.has_calls |= matches!(fact, Fact::Unlocked(_) | Fact::Called(_));
        self.has_unlock |= matches!(fact, Fact::Unlocked(_));
        known.facts.push((at, fact));
    }

    /// Fills in every lock's owners and hands each wait its part.
    pub(super) fn settle(
        self,
        waits: &mut [LockWait],
        (tasks, cpus): (&[Task], &[CpuLine]),
        span: (Timestamp, Timestamp),
        notes: &mut Notes,
    ) -> BTreeMap<LockId, Lock> {
        let unlocks = if self.has_unlock { Unlocks::Recorded } else { Unlocks::Absent };
        let mut locks = BTreeMap::new();
        self.pairs.finish(notes);
        for (id, known) in self.locks {
            let source = known.source(unlocks);
            let mut fill = Fill::new(known.kind, source, span, (tasks, cpus));
            for (at, fact) in known.facts {
                fill.fact(at, fact, notes);
            }
            let (ownership, holds) = fill.finish(notes);
            locks.insert(id, Lock { kind: known.kind, ownership, holds });
        }
        for wait in waits {
            let line = locks.get(&wait.lock).map_or(&[][..], |l: &Lock| &l.ownership);
            wait.ownership = part(line, wait.begin, wait.until);
            let guessed =
                |s: &OwnerSpan| s.basis == Basis::Inferred && matches!(s.owner, Ownership::Held(_));
            if wait.ownership.iter().any(guessed) {
                notes.add(NoteKind::OwnerInferred, wait.begin);
            }
        }
        locks
    }
}

impl LockFacts {
    fn new(kind: LockKind) -> Self {
        Self { kind, facts: Vec::new(), has_release: false, has_calls: false }
    }

    /// What a record found, when it is as true now.
    fn found_still(&self, record: Half) -> Option<Found> {
        let (_, Fact::Found(found)) = *self.facts.get(record.n_facts)? else { return None };
        self.keeps(record.n_facts + 1, found).then_some(found)
    }

    /// Whether the facts from this one on leave the lock with whom it was found.
    fn keeps(&self, from: usize, found: Found) -> bool {
        let mut facts = self.facts.iter().skip(from);
        facts.all(|(_, fact)| match *fact {
            Fact::Queued | Fact::Left | Fact::Void => true,
            Fact::Begun(task) => found != Found::Owner(task),
            Fact::Won(task) => found == Found::Owner(task),
            Fact::Found(again) => found == again,
            _ => false,
        })
    }

    /// Calls of a mutex are worth something only where releases are recorded too.
    fn source(&self, has_unlock: Unlocks) -> Source {
        let has_calls = self.has_calls && has_unlock == Unlocks::Recorded;
        if self.kind == LockKind::Mutex && has_calls {
            Source::Calls
        } else if self.has_release {
            Source::Releases
        } else {
            Source::Wakers
        }
    }
}

/// Whether the trace has `mutex_unlock` at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlocks {
    Recorded,
    Absent,
}

/// Where the owners of a lock are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Calls,
    Releases,
    Wakers,
}

/// The part of a line that covers [from, to), clipped; unknown where the line has nothing.
fn part(line: &[OwnerSpan], from: Timestamp, to: Timestamp) -> Vec<OwnerSpan> {
    let first = line.partition_point(|s| s.to <= from);
    let mut spans: Vec<OwnerSpan> = Vec::new();
    let mut at = from;
    for span in line[first..].iter().take_while(|s| s.from < to) {
        let end = span.to.min(to);
        if at < end {
            spans.push(OwnerSpan { from: at, to: end, ..*span });
            at = end;
        }
    }
    if at < to {
        let (owner, basis) = (Ownership::Unknown, Basis::Unknown);
        spans.push(OwnerSpan { from: at, to, owner, basis, permille: 0 });
    }
    spans
}
