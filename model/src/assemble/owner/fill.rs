//! One lock's facts into a line of owners without holes.

use super::holds::{Holds, Mark};
use super::{Fact, Source};
use crate::note::Notes;
use crate::{
    Basis, CpuLine, Hold, LockKind, NoteKind, OnCpu, OwnerSpan, Ownership, Task, TaskId, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Who gets a mutex sooner than this after it began to wait found it free: with waiters in its
/// list, also a free mutex is not taken without the two events.
const AT_ONCE_NS: u64 = 2_000;

/// The same where nobody who has to do with the lock is on a CPU; a recorder that reads owners
/// takes some microseconds between the two events.
const SOON_NS: u64 = 10_000;

/// What the latest fact left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// Nothing is known yet.
    Nothing,
    /// This task acquired it.
    Acquired(TaskId),
    /// This task released it.
    Released(TaskId),
    /// This task had it, and does not any more: it waits for it.
    Lost(TaskId),
    /// The recorder found it to have it.
    Found(TaskId),
    /// The recorder found readers, this one the latest.
    Reader(TaskId),
    /// The recorder found that nobody had it.
    Nobody,
}

/// Why somebody is taken for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nobody is.
    Nothing,
    /// It acquired the lock last.
    LastWinner,
    /// It acquired the lock last of all, and is on a CPU again before the next one gets it.
    NotGone,
    /// It acquires nothing in between, and releases the lock.
    Releaser,
    /// It releases the lock next, with somebody queued all the time.
    NextReleaser,
    /// It releases the lock next, and came while nobody was queued.
    CameUnseen,
    /// It releases the lock next, after the last winner is seen to wait for it again.
    AfterLost,
    /// The next one got it at once.
    AtOnce,
    /// A waiter spun, and nobody else was on a CPU all the time.
    Spun,
    /// The same of a task that is never seen to have to do with the lock.
    SpunForStranger,
    /// It acquires next, and was on a CPU when another one began to wait.
    WinnerOnCpu,
    /// It released the lock, and another one began to wait before anybody acquired it.
    TookAgain,
    /// It is the reader that came last, which says nothing of when it went.
    Reader,
}

impl Rule {
    /// Of a thousand owners concluded so, how many are right.
    ///
    /// # Source
    ///
    /// Counted on a recording beside which the owners were read in the kernel; `cargo xtask
    /// owners` counts again. A reader's figure is not counted: that recording has three.
    pub(super) fn permille(self) -> u16 {
        match self {
            Self::Nothing => 0,
            Self::Releaser | Self::NextReleaser | Self::Spun => 990,
            Self::AfterLost | Self::WinnerOnCpu => 980,
            Self::CameUnseen | Self::AtOnce => 960,
            Self::SpunForStranger => 950,
            Self::NotGone => 900,
            Self::TookAgain => 890,
            Self::LastWinner => 700,
            Self::Reader => 500,
        }
    }

    /// Nothing shows that the owner still has the lock.
    pub(super) fn is_assumed(self) -> bool {
        matches!(self, Self::Nothing | Self::LastWinner | Self::NotGone | Self::Reader)
    }
}

/// The line of owners of one lock, up to the latest fact.
pub(super) struct Fill<'t> {
    pub(super) kind: LockKind,
    pub(super) source: Source,
    pub(super) tasks: &'t [Task],
    cpus: &'t [CpuLine],
    /// Who has to do with the lock at any time.
    users: &'t BTreeSet<TaskId>,
    line: Vec<OwnerSpan>,
    holds: Holds,
    /// The trace's end.
    pub(super) end: Timestamp,
    /// Up to here the line is filled.
    pub(super) at: Timestamp,
    pub(super) last: Last,
    /// First wait's begin since `at`.
    pub(super) begun: Option<Timestamp>,
    /// Whose wait that is.
    begun_by: Option<TaskId>,
    /// When each task began to wait that has not acquired since.
    waits: BTreeMap<TaskId, Timestamp>,
    /// The latest waiter went to sleep, so the lock had an owner then.
    asked: Option<Timestamp>,
    /// How many are queued, and since when somebody is, without a break.
    n_queued: u32,
    queued_since: Option<Timestamp>,
    /// Entered `mutex_lock` while another task owned the mutex, and did not contend: it was
    /// faster than the stamp of the release that is about to come.
    early: Option<(TaskId, Timestamp)>,
    /// The latest fact was that a queued waiter left the list.
    has_left: bool,
    /// The line before the latest acquisition, should a release be stamped late.
    pub(super) before: Option<Before>,
}

/// Where the line stood before an acquisition whose release has not been seen.
pub(super) struct Before {
    n_spans: usize,
    holds: Mark,
    last_span: Option<OwnerSpan>,
    at: Timestamp,
    last: Last,
    begun: Option<Timestamp>,
    queued_since: Option<Timestamp>,
}

impl<'t> Fill<'t> {
    pub(super) fn new(
        kind: LockKind,
        source: Source,
        (start, end): (Timestamp, Timestamp),
        (tasks, cpus): (&'t [Task], &'t [CpuLine]),
        users: &'t BTreeSet<TaskId>,
    ) -> Self {
        Self {
            kind,
            source,
            tasks,
            cpus,
            users,
            line: Vec::new(),
            holds: Holds::default(),
            end,
            at: start,
            last: Last::Nothing,
            begun: None,
            begun_by: None,
            waits: BTreeMap::new(),
            asked: None,
            n_queued: 0,
            queued_since: None,
            early: None,
            has_left: false,
            before: None,
        }
    }

    pub(super) fn fact(&mut self, at: Timestamp, fact: Fact, notes: &mut Notes) {
        match fact {
            Fact::Begun(task) => self.begun(task, at),
            Fact::Found(found) => self.found(found, at),
            Fact::Queued => {
                self.n_queued += 1;
                self.queued_since.get_or_insert(at);
                self.asked = Some(at);
            }
            Fact::Left => {
                self.n_queued = self.n_queued.saturating_sub(1);
            }
            Fact::Won(task) => {
                self.acquired(task, at, notes);
                self.waits.remove(&task);
            }
            Fact::Called(task) if self.source == Source::Calls => self.acquired(task, at, notes),
            Fact::Unlocked(task) if self.source == Source::Calls => self.released(task, at, notes),
            Fact::Released(task) if self.source == Source::Releases => {
                self.released(task, at, notes);
            }
            Fact::Released(task) if self.source == Source::Calls => self.let_go(task, at),
            Fact::Woke(task) if self.source == Source::Wakers => self.released(task, at, notes),
            _ => {}
        }
        self.has_left = fact == Fact::Left;
        if self.n_queued == 0 && !self.has_left {
            self.queued_since = None;
        }
    }

    pub(super) fn finish(mut self, notes: &mut Notes) -> (Vec<OwnerSpan>, Vec<Hold>) {
        self.give_up_early(notes);
        let end = self.end;
        let basis = if self.source == Source::Calls { Basis::Exact } else { Basis::Inferred };
        match self.last {
            Last::Nothing => self.push(end, Ownership::Unknown, Basis::Unknown, Rule::Nothing),
            Last::Acquired(task) => self.push(end, Ownership::Held(task), basis, Rule::LastWinner),
            Last::Released(_) => self.push(end, Ownership::Free, basis, Rule::Nothing),
            Last::Lost(_) => self.push(end, Ownership::Unknown, Basis::Unknown, Rule::Nothing),
            // Whoever is still queued would see it go.
            Last::Found(task) if self.is_watched() => {
                self.push(end, Ownership::Held(task), Basis::Exact, Rule::Releaser);
            }
            Last::Found(task) => {
                self.keeps(task, end);
                self.push(end, Ownership::Held(task), basis, Rule::LastWinner);
            }
            Last::Reader(task) => self.push(end, Ownership::Held(task), basis, Rule::Reader),
            Last::Nobody => self.push(end, Ownership::Free, basis, Rule::LastWinner),
        }
        (self.line, self.holds.finish(end))
    }

    /// Somebody has been queued since the latest fact: nobody can have come or gone unseen.
    ///
    /// The mutex of a program can be taken without a call while others wait for it.
    pub(super) fn is_watched(&self) -> bool {
        if self.kind == LockKind::User {
            return false;
        }
        self.source == Source::Calls || self.queued_since.is_some_and(|since| since <= self.at)
    }

    fn acquired(&mut self, task: TaskId, at: Timestamp, notes: &mut Notes) {
        self.give_up_early(notes);
        let before = Before {
            n_spans: self.line.len(),
            holds: self.holds.mark(),
            last_span: self.line.last().copied(),
            at: self.at,
            last: self.last,
            begun: self.begun,
            queued_since: self.queued_since,
        };
        match self.last {
            Last::Acquired(owner) if self.source == Source::Calls && owner != task => {
                self.early = Some((task, at));
                return;
            }
            Last::Found(owner) => {
                self.push(at, Ownership::Held(owner), Basis::Exact, Rule::Releaser);
            }
            _ if self.sees_every_acquisition() => self.passed_on(at),
            Last::Nothing | Last::Acquired(_) | Last::Lost(_) if self.is_spun_for() => {
                self.spun(task, at)
            }
            Last::Nothing => self.push(at, Ownership::Unknown, Basis::Unknown, Rule::Nothing),
            Last::Acquired(_) if self.waits_for_somebody(at) => self.stolen(task, at),
            Last::Acquired(owner) => {
                self.push(at, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
            }
            Last::Released(_) | Last::Nobody if self.waits_for_somebody(at) => {
                self.stolen(task, at);
            }
            Last::Reader(reader) => {
                self.push(at, Ownership::Held(reader), Basis::Inferred, Rule::Reader);
            }
            Last::Lost(_) => self.stolen(task, at),
            Last::Released(_) | Last::Nobody => {
                self.push(at, Ownership::Free, self.best(), Rule::LastWinner);
            }
        }
        self.holds.won(task, at);
        let is_released = matches!(self.last, Last::Released(_));
        // It says only now what the recorder knew already.
        let is_found = self.last == Last::Found(task);
        self.next(if is_found { Last::Found(task) } else { Last::Acquired(task) });
        self.before = Some(before).filter(|_| !is_released);
    }

    /// A wait begins. Who waits for a lock does not have it, whatever was known of it.
    fn begun(&mut self, task: TaskId, at: Timestamp) {
        if self.last == Last::Found(task) {
            self.keeps(task, at);
            self.push(at, Ownership::Held(task), Basis::Inferred, Rule::LastWinner);
            self.last = Last::Lost(task);
            (self.begun, self.begun_by) = (None, None);
        }
        if self.source == Source::Wakers && self.last == Last::Acquired(task) {
            // Whoever has been queued since found the lock with its former owner.
            let asked = self.asked.filter(|at| self.at <= *at && self.sees_every_acquisition());
            if let Some(asked) = asked {
                self.push(asked, Ownership::Held(task), Basis::Inferred, Rule::NextReleaser);
            }
            let until = self.begun.filter(|_| asked.is_none()).unwrap_or(at);
            self.push(until, Ownership::Held(task), Basis::Inferred, Rule::LastWinner);
            self.last = Last::Lost(task);
            self.before = None;
        }
        if self.source == Source::Releases && self.last == Last::Acquired(task) {
            // Told later, that span would be a hold of its own.
            self.push(at, Ownership::Held(task), Basis::Inferred, Rule::LastWinner);
        }
        if self.source != Source::Calls {
            self.holds.waits(task, at);
        }
        self.waits.insert(task, at);
        if self.begun.is_none() {
            (self.begun, self.begun_by) = (Some(at), Some(task));
        }
    }

    /// While somebody is queued for a mutex nobody gets it without events of its own.
    ///
    /// # Source
    ///
    /// `__mutex_trylock_fast` takes an owner word of zero alone, and `MUTEX_FLAG_WAITERS` is in it
    /// as long as the list has waiters (`kernel/locking/mutex.c`).
    fn sees_every_acquisition(&self) -> bool {
        self.source == Source::Wakers
            && self.kind == LockKind::Mutex
            && !matches!(self.last, Last::Nothing | Last::Reader(_))
            && self.is_watched()
    }

    /// Up to `at`, when the next one gets a mutex whose acquisitions are all seen.
    fn passed_on(&mut self, at: Timestamp) {
        if let Last::Acquired(owner) = self.last {
            let gone = self.on_until(owner, at);
            // Who went to sleep for it found it owned; after that the owner may let go at any time.
            let asked = self.asked.filter(|asked| self.at <= *asked).unwrap_or(self.at).min(gone);
            self.push(asked, Ownership::Held(owner), Basis::Inferred, Rule::NextReleaser);
            self.push(gone, Ownership::Held(owner), Basis::Inferred, Rule::NotGone);
        }
        self.push(at, Ownership::Free, Basis::Inferred, Rule::AtOnce);
    }

    /// Somebody went to sleep for the lock after the release that is seen: it was taken unseen.
    fn waits_for_somebody(&self, at: Timestamp) -> bool {
        self.source == Source::Wakers
            && (self.kind.has_one_owner() || self.kind == LockKind::RwsemWrite)
            && self.queued_since.is_some()
            && self.begun.is_some_and(|begun| begun < at)
    }

    /// Between what is known last and the next acquisition that is seen somebody had the lock: the one that
    /// acquires, if it was on a CPU when the wait began (its `contention_end` comes later than the
    /// lock), else whoever released it and took it again.
    ///
    /// # Source
    ///
    /// Our own rule; `cargo xtask owners` says how often it is right.
    fn stolen(&mut self, task: TaskId, at: Timestamp) {
        let begun = self.begun.unwrap_or(at).min(at);
        match self.last {
            Last::Acquired(owner) => {
                self.push(begun, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
            }
            _ => self.push(begun, Ownership::Free, Basis::Inferred, Rule::LastWinner),
        }
        let is_waiter = |who: TaskId| self.begun_by == Some(who);
        let (owner, rule) = match self.last {
            _ if !is_waiter(task) && self.is_on_cpu(task, begun) => {
                (Ownership::Held(task), Rule::WinnerOnCpu)
            }
            Last::Released(before) | Last::Lost(before) if !is_waiter(before) => {
                (Ownership::Held(before), Rule::TookAgain)
            }
            _ => (Ownership::Unknown, Rule::Nothing),
        };
        let basis = if owner == Ownership::Unknown { Basis::Unknown } else { Basis::Inferred };
        self.push(at, owner, basis, rule);
    }

    fn is_on_cpu(&self, task: TaskId, at: Timestamp) -> bool {
        let interval = self.tasks.get(task.index()).and_then(|t| t.at(at));
        interval.is_some_and(|i| i.state.running_on().is_some())
    }

    /// A task that called `mutex_unlock` has the mutex up to its contended release, even where
    /// it was preempted in between; unless somebody else has it already.
    fn let_go(&mut self, task: TaskId, at: Timestamp) {
        if self.last == Last::Released(task) {
            self.push(at, Ownership::Held(task), self.best(), Rule::Releaser);
        }
    }

    /// The release that an early acquisition waited for did not come: it is not in the trace.
    fn give_up_early(&mut self, notes: &mut Notes) {
        let Some((task, at)) = self.early.take() else { return };
        notes.add(NoteKind::AcquiredWhileOwned, at);
        if let Last::Acquired(owner) = self.last {
            self.push(at, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
        }
        self.holds.won(task, at);
        self.next(Last::Acquired(task));
    }

    fn released(&mut self, task: TaskId, at: Timestamp, notes: &mut Notes) {
        let best = self.best();
        if let (Some((next, since)), Last::Acquired(owner)) = (self.early, self.last)
            && next == task
        {
            // The owner was preempted between its call and the mutex: it gets it only now.
            self.early = None;
            self.push(since, Ownership::Held(owner), Basis::Inferred, Rule::LastWinner);
            self.push(at, Ownership::Held(task), best, Rule::Releaser);
            return self.next(Last::Acquired(owner));
        }
        match self.last {
            Last::Acquired(owner) if owner == task => {
                self.push(at, Ownership::Held(task), best, Rule::Releaser);
                if let Some((next, _)) = self.early.take() {
                    return self.next(Last::Acquired(next));
                }
            }
            Last::Found(owner) if owner == task => {
                self.push(at, Ownership::Held(task), Basis::Exact, Rule::Releaser);
            }
            Last::Acquired(_) | Last::Found(_) if self.is_watched() => {
                match self.source {
                    Source::Calls => notes.add(NoteKind::ReleasedByOther, at),
                    Source::Releases => {
                        notes.add(NoteKind::LateRelease, at);
                        if let (Last::Acquired(owner), Some(before)) =
                            (self.last, self.before.take())
                        {
                            self.released_before(before, task, owner, notes);
                        }
                    }
                    // A wakeup that was no release.
                    Source::Wakers => {}
                }
                return;
            }
            Last::Acquired(owner) => self.came_unseen(task, at, Ownership::Held(owner)),
            Last::Found(_) => self.until_found(task, at),
            Last::Lost(_) => self.push(at, Ownership::Held(task), Basis::Inferred, Rule::AfterLost),
            Last::Released(_) | Last::Nobody | Last::Reader(_) if self.is_watched() => {
                self.push(at, Ownership::Held(task), Basis::Inferred, Rule::NextReleaser);
            }
            Last::Reader(reader) => {
                self.push(at, Ownership::Held(reader), Basis::Inferred, Rule::Reader);
            }
            Last::Released(_) | Last::Nobody => self.came_unseen(task, at, Ownership::Free),
            Last::Nothing if self.source == Source::Calls => {
                self.push(at, Ownership::Held(task), best, Rule::Releaser);
            }
            Last::Nothing => self.came_unseen(task, at, Ownership::Unknown),
        }
        self.holds.released(at, self.queued_since);
        self.next(Last::Released(task));
    }

    /// The task that acquires now has only spun for it.
    fn is_spun_for(&self) -> bool {
        self.kind == LockKind::Mutex && !self.has_left && self.begun.is_some()
    }

    /// `task` spun from the first begin on: the owner was on a CPU all the time (kernel
    /// model 7.6, O5). When only one other task was that ever has to do with this lock, that is
    /// it; when none was, or the wait was over at once, the lock was free.
    fn spun(&mut self, task: TaskId, at: Timestamp) {
        let first = self.begun.unwrap_or(at);
        let begun = self.waits.get(&task).copied().unwrap_or(first).min(at);
        let (was, basis) = match self.last {
            Last::Acquired(owner) => (Ownership::Held(owner), Basis::Inferred),
            _ => (Ownership::Unknown, Basis::Unknown),
        };
        self.push(begun, was, basis, Rule::LastWinner);
        let stretches = self.cpus.iter().filter_map(|cpu| cpu.at(begun)).filter(|s| s.end >= at);
        let others: Vec<TaskId> = stretches
            .filter_map(|s| match s.on_cpu {
                OnCpu::Task(other) => Some(other).filter(|other| *other != task),
                OnCpu::Idle | OnCpu::Unknown => None,
            })
            .collect();
        let users: Vec<TaskId> =
            others.iter().copied().filter(|task| self.users.contains(task)).collect();
        let spun_for = at.since(begun).0;
        let is_free = spun_for < AT_ONCE_NS || users.is_empty() && spun_for < SOON_NS;
        let (owner, basis, rule) = match (&users[..], &others[..]) {
            _ if is_free => (Ownership::Free, Basis::Inferred, Rule::AtOnce),
            ([owner], _) => (Ownership::Held(*owner), Basis::Inferred, Rule::Spun),
            ([], [owner]) => (Ownership::Held(*owner), Basis::Inferred, Rule::SpunForStranger),
            _ => (Ownership::Unknown, Basis::Unknown, Rule::Nothing),
        };
        self.push(at, owner, basis, rule);
    }

    /// `task` had the lock until `owner` acquired it, and only its release is stamped later.
    fn released_before(&mut self, before: Before, task: TaskId, owner: TaskId, notes: &mut Notes) {
        let (acquired, begun, queued_since) = (self.at, self.begun, self.queued_since);
        self.line.truncate(before.n_spans);
        self.holds.back_to(before.holds);
        if let (Some(last), Some(was)) = (self.line.last_mut(), before.last_span) {
            *last = was;
        }
        (self.at, self.last) = (before.at, before.last);
        (self.begun, self.queued_since) = (before.begun, before.queued_since);
        self.released(task, acquired, notes);
        self.holds.won(owner, acquired);
        (self.last, self.begun, self.queued_since) = (Last::Acquired(owner), begun, queued_since);
    }

    /// `task`, which releases at `at`, acquired the lock unseen: before the first wait began,
    /// or while that wait was still spinning.
    fn came_unseen(&mut self, task: TaskId, at: Timestamp, before: Ownership) {
        let begun = self.begun.unwrap_or(at).min(at);
        let basis = if before == Ownership::Unknown { Basis::Unknown } else { Basis::Inferred };
        self.push(begun, before, basis, Rule::LastWinner);
        let queued = self.queued_since.unwrap_or(at).clamp(begun, at);
        let best = self.best();
        let early = if self.is_off_cpu(task, begun, queued) { best } else { Basis::Inferred };
        self.push(queued, Ownership::Held(task), early, Rule::CameUnseen);
        self.push(at, Ownership::Held(task), best, Rule::CameUnseen);
    }

    /// Off its CPU a task acquires nothing: what it has at `to` it had at `from`.
    fn is_off_cpu(&self, task: TaskId, from: Timestamp, to: Timestamp) -> bool {
        self.tasks.get(task.index()).is_some_and(|t| {
            let between = t.between(from, to);
            !between.is_empty() && between.iter().all(|i| i.state.running_on().is_none())
        })
    }

    /// What a fact of this source proves at best.
    pub(super) fn best(&self) -> Basis {
        if self.kind.has_one_owner() && self.source != Source::Wakers {
            Basis::Exact
        } else {
            Basis::Inferred
        }
    }

    fn next(&mut self, last: Last) {
        self.last = last;
        (self.begun, self.begun_by) = (None, None);
        self.before = None;
    }

    /// Kinds that have no owner, or many spinning ones, stay unknown.
    pub(super) fn push(&mut self, to: Timestamp, owner: Ownership, basis: Basis, rule: Rule) {
        if to <= self.at {
            return;
        }
        let ownerless = self.kind == LockKind::Semaphore || self.kind.is_spinning();
        let (owner, basis) =
            if ownerless { (Ownership::Unknown, Basis::Unknown) } else { (owner, basis) };
        let permille = match basis {
            Basis::Exact => 1000,
            Basis::Inferred => rule.permille(),
            Basis::Unknown => 0,
        };
        self.holds.span((self.at, to), owner, (basis, rule));
        let said = (owner, basis, permille);
        match self.line.last_mut() {
            Some(last) if (last.owner, last.basis, last.permille) == said => last.to = to,
            _ => self.line.push(OwnerSpan { from: self.at, to, owner, basis, permille }),
        }
        self.at = to;
    }
}
