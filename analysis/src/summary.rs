//! One trace in short.

use crate::decompose::{Decomposition, decompose_all};
use crate::distribution::Distribution;
use crate::identity::{TaskKey, keys};
use crate::inversion::Inversion;
use crate::part::Parts;
use model::{Basis, LockKind, Migration, MigrationKind, Nanos, TaskId, TaskState, Trace};
use serde::Serialize;

/// A trace in short. Times in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// First to last event.
    pub span_ns: u64,
    /// CPUs with events.
    pub n_cpus: usize,
    /// Tasks seen.
    pub n_tasks: usize,
    /// Mutexes waited for or called.
    pub n_mutexes: usize,
    /// Times a task left a CPU.
    pub switches: u64,
    /// Wakeups that ended a sleep or a wait.
    pub wakeups: u64,
    /// Changes of runqueue.
    pub migrations: Migrations,
    /// Lock waits.
    pub waits: Waits,
    /// Whether events were lost.
    pub is_lossy: bool,
    /// How well owners are known, as shares of the wait time.
    pub owners: BasisShares,
    /// One entry per task, in the order of [`TaskId`].
    pub tasks: Vec<TaskSummary>,
}

/// Lock waits in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// Their lengths. Waits that the trace cuts off count as far as it goes.
    pub length: Distribution,
    /// What they were spent on.
    pub parts: Parts,
    /// Inversion among that.
    pub inversion: Inversion,
    /// Of the time released and not running: with a less urgent task on the waiter's CPU.
    pub handoff_inversion_ns: u64,
}

/// Changes of runqueue by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrations {
    /// `sched_migrate_task`.
    pub ordinary: u64,
    /// Donors to their owners.
    pub donor: u64,
    /// Donors back.
    pub returned: u64,
}

impl Migrations {
    /// Of these migrations.
    #[must_use]
    pub fn of<'m>(migrations: impl Iterator<Item = &'m Migration>) -> Self {
        let mut counts = Self::default();
        for migration in migrations {
            match migration.kind {
                MigrationKind::Ordinary => counts.ordinary += 1,
                MigrationKind::Donor => counts.donor += 1,
                MigrationKind::Return => counts.returned += 1,
            }
        }
        counts
    }
}

/// How well owners are known: shares of lock wait time, 0 to 1; they sum to 1 when there is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BasisShares {
    /// Events say so.
    pub exact: f64,
    /// Concluded.
    pub inferred: f64,
    /// Not known.
    pub unknown: f64,
}

/// One task in short.
#[derive(Clone, Debug, Serialize)]
pub struct TaskSummary {
    /// Who, within this trace.
    #[serde(skip)]
    pub task: TaskId,
    /// Who, across traces.
    pub key: TaskKey,
    /// Thread id.
    pub tid: i32,
    /// Wakeup to next sleep, lock waits included.
    pub responses: Distribution,
    /// Lock waits.
    pub waits: Waits,
    /// From the first time it came to a CPU to the last time it left one: how long a fixed piece of
    /// work took.
    pub span_ns: u64,
    /// Time on CPUs.
    pub run_ns: u64,
    /// Time runnable without a CPU.
    pub runnable_ns: u64,
    /// Time asleep, lock waits aside.
    pub sleep_ns: u64,
    /// Times it left a CPU.
    pub switches: u64,
    /// Changes of runqueue.
    pub migrations: Migrations,
    /// Time it executed on donors' scheduling contexts.
    pub ran_for_others_ns: u64,
    /// Time its scheduling context was lent to lock owners.
    pub donated_ns: u64,
}

/// Sums up a trace.
#[must_use]
pub fn summary(trace: &Trace) -> Summary {
    summary_of(trace, &decompose_all(trace))
}

/// The same, for waits already taken apart.
#[must_use]
pub fn summary_of(trace: &Trace, decomposed: &[Decomposition]) -> Summary {
    let all: Vec<usize> = (0..trace.waits.len()).collect();
    let is_mutex = |l: &&model::Lock| l.kind.is_proxied();
    Summary {
        span_ns: trace.span().0,
        n_cpus: trace.cpus.len(),
        n_tasks: trace.tasks.len(),
        n_mutexes: trace.locks.values().filter(is_mutex).count(),
        switches: trace.tasks.iter().map(|t| t.switches).sum(),
        wakeups: trace.wakeups.len() as u64,
        migrations: Migrations::of(trace.migrations.iter()),
        waits: waits(trace, decomposed, &all),
        is_lossy: !trace.lost.is_empty(),
        owners: owner_shares(trace, |_| true),
        tasks: tasks(trace, decomposed),
    }
}

/// How well the owners are known over all waits for locks of some kinds.
#[must_use]
pub fn owner_shares(trace: &Trace, counts: impl Fn(LockKind) -> bool) -> BasisShares {
    let mut spans = [Nanos(0); 3];
    for span in trace.waits.iter().filter(|w| counts(w.kind)).flat_map(|w| &w.ownership) {
        let place = match span.basis {
            Basis::Exact => 0,
            Basis::Inferred => 1,
            Basis::Unknown => 2,
        };
        spans[place] += span.to.since(span.from);
    }
    let total = spans.iter().copied().sum::<Nanos>().0.max(1) as f64;
    let [exact, inferred, unknown] = spans.map(|s| s.0 as f64 / total);
    BasisShares { exact, inferred, unknown }
}

fn waits(trace: &Trace, decomposed: &[Decomposition], which: &[usize]) -> Waits {
    let (mut sum, mut handoff) = (Waits::default(), Nanos(0));
    for &index in which {
        let parts = decomposed[index].parts;
        sum.parts += parts;
        sum.inversion.add(trace.waits[index].kind, parts.inversion());
        handoff += decomposed[index].handoff_inversion();
    }
    sum.handoff_inversion_ns = handoff.0;
    let length = |&index: &usize| trace.waits[index].until.since(trace.waits[index].begin);
    sum.length = Distribution::of(which.iter().map(length));
    sum
}

fn tasks(trace: &Trace, decomposed: &[Decomposition]) -> Vec<TaskSummary> {
    let n = trace.tasks.len();
    let mut responses: Vec<Vec<Nanos>> = vec![Vec::new(); n];
    for response in &trace.responses {
        responses[response.task.index()].push(response.end.since(response.begin));
    }
    let mut migrations: Vec<Vec<&Migration>> = vec![Vec::new(); n];
    for migration in &trace.migrations {
        migrations[migration.task.index()].push(migration);
    }
    let (mut lent, mut borrowed) = (vec![Nanos(0); n], vec![Nanos(0); n]);
    for donation in trace.cpus.iter().flat_map(|c| &c.donations) {
        let span = donation.end.since(donation.start);
        lent[donation.donor.index()] += span;
        borrowed[donation.running.index()] += span;
    }
    let mut keys = keys(trace).into_iter();
    let mut list = Vec::with_capacity(n);
    for (task, t) in trace.tasks() {
        let index = task.index();
        let runnable = |s: TaskState| matches!(s, TaskState::Runnable(..));
        list.push(TaskSummary {
            task,
            key: keys.next().expect("as many keys as tasks"),
            tid: t.info.tid.0,
            responses: Distribution::of(std::mem::take(&mut responses[index])),
            waits: waits(trace, decomposed, &t.waits),
            span_ns: t.span().0,
            run_ns: t.time_in(|s| s.running_on().is_some()).0,
            runnable_ns: t.time_in(runnable).0,
            sleep_ns: t.time_in(|s| matches!(s, TaskState::Sleeping(_))).0,
            switches: t.switches,
            migrations: Migrations::of(migrations[index].iter().copied()),
            ran_for_others_ns: borrowed[index].0,
            donated_ns: lent[index].0,
        });
    }
    list
}
